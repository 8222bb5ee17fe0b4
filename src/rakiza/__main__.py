"""`python -m rakiza` is the command `rakiza`."""

from rakiza.cli import main

if __name__ == "__main__":
    main()
