"""`python -m encoders.flops`: what an episode costs, step by step."""

from encoders.flops.report import main

main()
