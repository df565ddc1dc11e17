"""``python -m cosnorm``: the same as the command ``cosnorm``."""

from cosnorm.cli import main

if __name__ == "__main__":
    main()
