"""``python -m hrpro`` is the same as ``hrpro``."""

from hrpro.cli import main

if __name__ == "__main__":
    main()
