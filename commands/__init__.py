"""The commands of `est`, one file each: options in, one library call, the result on the screen."""
