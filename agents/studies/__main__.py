"""`python -m agents.studies NAME` is `ave-study NAME`."""

from agents.studies.command import main

if __name__ == "__main__":
    main()
