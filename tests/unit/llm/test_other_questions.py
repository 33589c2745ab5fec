"""A question of another kind than splits goes through the same layer, and its pixels stay out."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from coupled_core.config import LlmConfig, fingerprint
from coupled_core.llm.ask import Asker
from coupled_core.llm.dialogue import Dialogue
from coupled_core.llm.question import Bounds, Question, RequestKey
from coupled_core.llm.spending import Ledger
from coupled_core.storage.local import LocalStore
from tests.messages_server.process import RunningServer
from tests.unit.splitting.llm.groups import SOON

PIXELS = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 400).decode()
"""100 KB, of which the API bills some tokens by its size in pixels, not by its bytes."""
BOUNDS = Bounds(max_input_tokens=4000, max_output_tokens=200)


@dataclass(frozen=True)
class ImageToDescribe:
    """The smallest subject there can be: one question, and any text will do."""

    image_id: str
    pixels: str

    @property
    def first_question(self) -> Question:
        image = {"type": "base64", "media_type": "image/png", "data": self.pixels}
        content = [
            {"type": "image", "source": image},
            {"type": "text", "text": json.dumps({"prompts": [self.image_id, "in a meadow"]})},
        ]
        params = {
            "model": "claude-haiku-5-5",
            "max_tokens": BOUNDS.max_output_tokens,
            "messages": [{"role": "user", "content": content}],
        }
        sha256 = fingerprint({"describe": self.pixels, "version": "d1"})
        return Question(
            RequestKey(request_sha256=sha256, attempt=0, subject_id=self.image_id),
            params,
            BOUNDS,
            "d1",
        )

    def judge(self, dialogue: Dialogue[str]) -> str:
        return dialogue.answers[-1].error or dialogue.answers[-1].text


@pytest.mark.parametrize("transport", ["online", "batch"])
def test_a_question_about_an_image_is_asked_once_and_kept_without_its_pixels(
    start_messages_server: Callable[..., RunningServer], tmp_path: Path, transport: str
) -> None:
    server = start_messages_server(batch_seconds=0.2)
    config = LlmConfig.model_validate({"transport": transport, "max_llm_usd": 0.01})
    images = [ImageToDescribe(f"image-{n}", PIXELS[:-8] + f"{n:08}") for n in range(3)]
    written: list[bytes] = []

    class WatchedStore(LocalStore):
        def write(self, key: str, data: bytes) -> str:
            written.append(data)
            return super().write(key, data)

        def write_if_absent(self, key: str, data: bytes) -> str:
            written.append(data)
            return super().write_if_absent(key, data)

    store = WatchedStore(tmp_path)
    for _ in range(2):
        told = Asker(config, store, "describe", "run", SOON).ask(images)
        assert ["background_prompt" in text for text in told] == [True, True, True]
    assert server.counters()["paid"][transport] == 3
    # The bytes of an image as tokens would not fit under this cap.
    assert 0.0 < Ledger(store, "run").total() < config.max_llm_usd  # type: ignore[operator]
    answers = [json.loads(path.read_bytes()) for path in tmp_path.glob("answers/*/*.json")]
    assert {answer["group_id"] for answer in answers} == {"image-0", "image-1", "image-2"}
    assert {answer["instruction_version"] for answer in answers} == {"d1"}
    assert all(PIXELS[:64].encode() not in data for data in written)
    assert max(map(len, written)) < 4000
