"""The relay: stores, forwards and meters envelopes that it cannot read."""
