"""One target under atheris: ``python -m tests.fuzz.drive TARGET [libFuzzer's arguments]``.

libFuzzer sees the coverage of kurir's own modules. Half of the changes are its own; the other half
are the target's, which know the format.
"""

from __future__ import annotations

import sys
from random import Random

import atheris

with atheris.instrument_imports(
    include=["kurir_wire", "kurir_billing", "kurir_crypto", "kurir_client", "kurir_audit"],
    enable_loader_override=False,
):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    target = TARGETS[sys.argv[1]]

    def change(data: bytes, max_size: int, seed: int) -> bytes:
        random = Random(seed)
        if random.random() < 0.5:
            return bytes(atheris.Mutate(data, max_size))
        return random.choice(target.mutators)(data, random)[:max_size]

    arguments = [sys.argv[0], f"-max_len={target.max_bytes}", *sys.argv[2:]]
    atheris.Setup(arguments, lambda data: target.run(data) and None, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
