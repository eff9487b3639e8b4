"""The TLS certificate: read at the start, and again on SIGHUP while connections stay."""

from __future__ import annotations

import ssl
from pathlib import Path

from cryptography import x509

from kurir_server.errors import ConfigError

READ_HINT = (
    "give the certificate with --tls-cert and its key with --tls-key; the user that the relay runs "
    "as must be able to read both"
)
HINT = "both are PEM files, the certificate with its chain, the key without a passphrase"


def context_for(cert: Path, key: Path) -> ssl.SSLContext:
    """What a listener serves with.

    :raises ConfigError: the files cannot be used, or do not belong together
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, cert, key)
    return context


def reload_into(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    """New connections get the certificate that is in the files now; those that are open keep
    theirs.

    :raises ConfigError: as :func:`context_for`; then the former certificate stays
    """
    # Tried first on a context that nobody uses: a chain without its key would be half a change.
    context_for(cert, key)
    _load(context, cert, key)


def ends_at(cert: Path) -> int:
    """When the certificate (the first of the file) ends, in seconds.

    :raises ConfigError: not a certificate
    """
    try:
        found = x509.load_pem_x509_certificates(cert.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read {cert}: {error.strerror}", READ_HINT) from error
    except ValueError as error:
        raise ConfigError(f"{cert} holds no certificate", HINT) from error
    return int(found[0].not_valid_after_utc.timestamp())


def _load(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    try:
        # Without a function for it, OpenSSL asks the terminal for a passphrase, and waits.
        context.load_cert_chain(cert, key, password=_no_passphrase)
    except (OSError, ssl.SSLError, ValueError) as error:
        # OpenSSL does not say which of the two it could not read.
        for path in (cert, key):
            _check_readable(path)
        raise ConfigError(f"cannot use the TLS certificate {cert} with its key", HINT) from error


def _check_readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", READ_HINT) from error


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase")
