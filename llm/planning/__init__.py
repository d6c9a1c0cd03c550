"""What a run needs before it is run: sizes, memory, arithmetic, disk, and advice where it does not fit."""
