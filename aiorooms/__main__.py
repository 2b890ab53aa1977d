"""Run the command `aiorooms` as `python -m aiorooms`."""

from .cli import main

if __name__ == "__main__":
    main()
