"""Write the valid samples of the corpus anew: ``python -m tests.fuzz.record``.

Needed when a format changes. What fuzzing found beside them stays. The samples of the crypto
targets differ from run to run, as they hold fresh keys, and fit the device recorded with them.
"""

from __future__ import annotations

import msgspec

from tests.fuzz import recorded
from tests.fuzz.target import CORPUS, VALID
from tests.fuzz.targets import TARGETS


def main() -> None:
    device, samples = recorded.record()
    recorded.FILE.write_bytes(msgspec.msgpack.encode(device))
    for name, target in TARGETS.items():
        target.folder.mkdir(parents=True, exist_ok=True)
        fresh = samples.get(name) or target.samples()
        for old in target.folder.glob(f"{VALID}*"):
            old.unlink()
        for title, data in fresh.items():
            (target.folder / title).write_bytes(data)
    print(f"{len(TARGETS)} targets in {CORPUS}")


if __name__ == "__main__":
    main()
