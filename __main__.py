"""`python -m est` is the command `est`."""

from .cli import main

if __name__ == "__main__":
    main()
