"""`python -m aiorooms` is the command `aiorooms`."""

from .cli import main

if __name__ == "__main__":
    main()
