"""What is wrong with key, address or proxies is said at once, by variable and without its value."""

import pytest

from coupled_core.config import DEFAULT_PRICES, THINKING, LlmConfig, SplitConfig
from coupled_core.errors import ConfigError
from coupled_core.llm.client import check_environment
from coupled_core.llm.spending import thinking_of
from coupled_core.splitting.llm.question import build_question, splitter_identity
from tests.unit.splitting.llm.groups import make_group

KEY, URL = "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (KEY, ""),
        (KEY, "sk-ant-planted\n"),
        (KEY, "sk-ant planted"),
        (KEY, "sk-ant-plänted"),
        (KEY, "\u200bsk-ant-planted"),
        (KEY, "sk-ant\x00planted".replace("\x00", "\x01")),
        (URL, ""),
        (URL, " "),
        (URL, "planted.example"),
        (URL, "ftp://planted.example"),
        (URL, "https://"),
        (URL, "https://planted.example:99999"),
        (URL, "https://planted.example:port"),
        (URL, "https://planted.example:0"),
        (URL, "https://user:planted@host"),
        (URL, "https://host?sig=planted"),
        (URL, "https://host#planted"),
        (URL, "https://pl anted"),
        (URL, "https://[planted"),
        ("HTTPS_PROXY", "gopher://planted:70"),
        ("HTTPS_PROXY", "http://user:planted@host:port"),
        ("https_proxy", "http://planted:123456"),
        ("ALL_PROXY", "socks9://planted"),
        ("HTTP_PROXY", "http://"),
    ],
)
def test_a_variable_that_no_request_can_be_made_with_is_a_configuration_error(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(KEY, "sk-ant-made-up")
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=name) as caught:
        check_environment()
    assert "planted" not in str(caught.value)


def test_usual_keys_addresses_and_proxies_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "sk-ant-api03-A_b-9")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:p%40ss@proxy.example:3128")
    monkeypatch.setenv("http_proxy", "proxy.example:3128")
    for url in ("https://api.anthropic.com", "http://127.0.0.1:8080/v1/", "http://[::1]:80"):
        monkeypatch.setenv(URL, url)
        check_environment()


def test_every_priced_model_thinks_as_little_as_it_can_by_default() -> None:
    assert THINKING.keys() == DEFAULT_PRICES.keys()
    taken = {model: thinking_of(LlmConfig(model=model)) for model in DEFAULT_PRICES}
    assert taken["claude-haiku-5-5"] == "disabled"
    assert taken["claude-sonnet-5-5"] == "between_tools"
    assert taken["claude-opus-5-5"] == "adaptive"


@pytest.mark.parametrize(
    ("model", "thinking", "allowed"),
    [
        ("claude-sonnet-5-5", "disabled", "between_tools, adaptive"),
        ("claude-opus-5-5", "disabled", "adaptive"),
        ("claude-opus-5-5", "between_tools", "adaptive"),
        ("claude-haiku-4-5", "adaptive", "disabled"),
    ],
)
def test_what_a_model_does_not_take_is_named_before_anything_is_sent(
    model: str, thinking: str, allowed: str
) -> None:
    config = SplitConfig.model_validate({"model": model, "thinking": thinking})
    with pytest.raises(ConfigError, match=f"{model} does not take .*{thinking}.* of {allowed}$"):
        splitter_identity(config)


def test_thinking_is_sent_as_it_is_named_and_the_default_identity_stays() -> None:
    sent = {}
    for model in DEFAULT_PRICES:
        params = build_question(SplitConfig(model=model), make_group(0)).params
        sent[model] = params["thinking"]["type"]
    assert sent == {model: taken[0] for model, taken in THINKING.items()}
    assert splitter_identity(SplitConfig()) == "anthropic/claude-haiku-5-5/instruction-2"
    opus = splitter_identity(SplitConfig(model="claude-opus-5-5"))
    assert opus == "anthropic/claude-opus-5-5/instruction-2/adaptive-thinking"
