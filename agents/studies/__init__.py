"""Experiments on the split block K and the encoder around it: `ave-study NAME`.

One module per study, and one line in `agents.studies.registry`. A study opens encoders and scenes,
measures points one after another into a table, and draws and describes what the table says; what
it has measured is not measured again when it is resumed. The measures themselves are functions of
features in `encoders.analysis`.
"""
