"""`python -m djr`."""

from ._program import main

main()
