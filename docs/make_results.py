"""Write docs/results.md from the cards in docs/cards; with --check only say whether it is current."""

from __future__ import annotations

import sys
from pathlib import Path

from est.errors import EstError
from est.recipes.checking import read_cards
from est.recipes.table import results_page

PAGE = Path(__file__).parent / "results.md"
CARDS = Path(__file__).parent / "cards"


def build(cards: Path = CARDS, *, allow_partial: bool = False) -> str:
    """Return the page that a folder of cards makes; cards of a part of a data set are for tests alone."""
    return results_page(read_cards(cards, allow_partial=allow_partial))


def main() -> None:
    try:
        page = build()
    except EstError as error:
        sys.exit(f"{error.message}" + (f"\n  try: {error.remedy}" if error.remedy else ""))
    if sys.argv[1:] != ["--check"]:
        PAGE.write_text(page, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page:
        sys.exit("docs/results.md is not what the cards in docs/cards say: run make docs")


if __name__ == "__main__":
    main()
