"""Everything in kurir that holds a secret: keys, handshake, ratchet, session, sealing, vault.

The path of one message, outside in:

- :mod:`~kurir_crypto.sealing` hides a message from the relay, headers and all, and fills a bucket;
- :mod:`~kurir_crypto.message` encrypts content once and wraps its key for each device;
- :mod:`~kurir_crypto.session` gives the wrapping key for one message between two devices: a PQXDH
  :mod:`~kurir_crypto.handshake`, then a Double Ratchet (:mod:`~kurir_crypto.ratchet`).

Around it: :mod:`~kurir_crypto.keys` (what one owns), :mod:`~kurir_crypto.invite` (what a link's
secret opens), :mod:`~kurir_crypto.settlement` (proof that a paid message was opened),
:mod:`~kurir_crypto.safety` (what two people compare), :mod:`~kurir_crypto.vault` (the passphrase).

Rules of the package: no I/O, no clock, time is an argument; values are immutable, so a caller keeps
the old one until the new one is worth keeping; nothing but a subclass of
:class:`~kurir_crypto.errors.CryptoError` is raised because of bytes that came from elsewhere.
Misuse by the caller (a key of 31 bytes, nine devices) is a ``ValueError``.
The bytes are normative in docs/protocol.md, "Encryption".

Python cannot promise to wipe memory: secrets are immutable ``bytes``, dropped as soon as they are
used and never shown by ``repr``, but a copy may stay in memory until it is overwritten.
"""
