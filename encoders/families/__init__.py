"""Kinds of encoders, each behind `encoders.protocol.Encoder`."""
