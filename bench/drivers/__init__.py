"""How the load speaks to each server: one module for each protocol, all behind :class:`Pair`."""
