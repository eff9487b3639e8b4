"""What an adversary does to parcels, and what has to come of it: nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from kurir_crypto.errors import AuthenticationError, CryptoError
from kurir_crypto.message import inspect
from kurir_crypto.restart import is_request
from tests.crypto.network.parcel import Parcel
from tests.crypto.network.world import World


class Adversary(World):
    """A world in which parcels are changed and put elsewhere."""

    def alter_outside(self, parcel: Parcel, change: Callable[[bytes], bytes]) -> None:
        """The relay changes a body: it does not open at all."""
        body = change(parcel.body)
        assert body != parcel.body
        altered = replace(parcel, body=body)
        try:
            self.unsealed(altered)
        except AuthenticationError:
            return
        raise AssertionError("a changed body opened")

    def alter_inside(self, parcel: Parcel, change: Callable[[bytes], bytes]) -> None:
        """Somebody who has the place's key changes a message. Other devices' entries may change
        without harm; whatever concerns this device may not."""
        original = self.unsealed(parcel)
        message = change(original)
        if message == original:
            return
        if is_request(message):
            device = self.devices[parcel.to]
            before = device.encode()
            try:
                device.restart(self.public[parcel.sender], message, parcel.binding, self.now)
            except CryptoError:
                assert device.encode() == before
                return
            raise AssertionError("a changed request was answered")
        error = self._arrives(parcel, message, parcel.binding)
        if error is None:
            assert original[1] == message[1] > 1, "a changed message opened"
            assert self._same_for(parcel, original, message)
            self._finish(parcel)

    def _same_for(self, parcel: Parcel, one: bytes, other: bytes) -> bool:
        """Whether two messages differ in entries of other devices only."""
        entries = [
            [entry for entry in inspect(message) if entry.session_id == parcel.session]
            for message in (one, other)
        ]
        return (
            entries[0] == entries[1]
            and one[-len(parcel.content) :] == (other[-len(parcel.content) :])
        )

    def misplace(self, parcel: Parcel) -> None:
        """Another envelope, another mailbox: closed at the sealing, and closed within."""
        other = self._binding(frozenset({parcel.sender, parcel.to, 99}))
        moved = replace(parcel, binding=other)
        try:
            self.unsealed(moved)
        except AuthenticationError:
            pass
        else:
            raise AssertionError("a body opened in another place")
        message = self.unsealed(parcel)
        if is_request(message):
            self._refuses_request(parcel.to, parcel.sender, message, other)
            return
        assert self._arrives(parcel, message, other) is not None

    def misdeliver(self, parcel: Parcel, who: int) -> None:
        """To a device that it was not meant for, its sender perhaps, and in the right place."""
        message = self.unsealed(parcel)
        if who in parcel.readers:
            return
        if is_request(message):
            for claimed in range(len(self.devices)):
                if claimed != parcel.sender:
                    self._refuses_request(who, claimed, message, parcel.binding)
            return
        stray = replace(parcel, to=who)
        assert self._arrives(stray, message, parcel.binding) is not None

    def _refuses_request(self, who: int, peer: int, request: bytes, binding: bytes) -> None:
        device = self.devices[who]
        before = device.encode()
        try:
            device.restart(self.public[peer], request, binding, self.now)
        except CryptoError:
            assert device.encode() == before
            return
        raise AssertionError("a request was answered that should not have been")
