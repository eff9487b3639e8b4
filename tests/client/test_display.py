"""Text of others reaches the terminal as it was written, less what could take it over."""

from __future__ import annotations

import pytest

from kurir_client.display import harmless


@pytest.mark.parametrize(
    "text",
    [
        "\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian, with a joiner
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "a\u00a0b",
        "你好\n한국\tok",
        "é",
    ],
)
def test_all_scripts_stay_as_they_are(text: str) -> None:
    assert harmless(text) == text


@pytest.mark.parametrize(
    "text", ["\x1b[31m", "\x07", "\x9b1m", "\u2028", "\u202e", "\r", "\u2066", "\x00"]
)
def test_what_moves_a_cursor_or_turns_text_is_replaced(text: str) -> None:
    assert text[0] not in harmless("a" + text)
