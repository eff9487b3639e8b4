"""``make bill-million``: three totals of a million charges that have to agree to the micro-unit."""
