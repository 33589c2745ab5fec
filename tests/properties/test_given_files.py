"""What users give is read as what it is, or refused by an error of ours."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from coupled_core.concepts import read_concepts
from coupled_core.config import PromptSetConfig, RunConfig
from coupled_core.errors import ConfigError, PromptSetError, ScheduleError
from coupled_core.generation.model_files import KNOWN_MODELS, find_model_files
from coupled_core.prompts.prompt_set import check_prompt_set, read_prompt_set
from coupled_core.records import PromptGroup, QuarantinedRow
from coupled_core.schedules.schedule_file import SHIPPED_FOLDER, load_schedule
from flows.cli.setting import Offer
from flows.cli.settings import read_settings
from tests.properties.search import changed, ends_in, json_bytes, search, values

SCHEDULES = [json.loads(path.read_text()) for path in sorted(SHIPPED_FOLDER.glob("*.json"))]
SETTINGS: dict[str, Any] = {
    "prompts": {"uri": ["a", "b"]},
    "generation": {"seed": 1, "width": 64, "guidance_scale": 1.5},
    "split": {"prices": {"a": {"input_usd": 1.0, "output_usd": 2.0}}},
    "filter": {"min_combined": 1.0},
}
CONCEPTS = {"name": "a", "concepts": {"b": ["c"]}, "neutral": ["d"], "margin": 0.0}


@search
@given(data=st.sampled_from(SCHEDULES).flatmap(lambda each: json_bytes(changed(each))))
def test_a_schedule_is_read_or_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.json").write_bytes(data)
    ends_in(lambda: load_schedule(tmp_path / "a.json"), ScheduleError)


@search
@given(data=json_bytes(changed(SETTINGS) | values), kind=st.sampled_from(["json", "yaml", "toml"]))
def test_a_settings_file_is_read_or_named(tmp_path: Path, data: bytes, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(data)
    ends_in(lambda: read_settings(RunConfig, {}, Offer(), path), ConfigError)


@search
@given(text=st.text(alphabet="ab:-[]{}&*!|>'\"#%@,. \n\t<?0~", max_size=60))
def test_a_settings_file_of_odd_yaml_is_read_or_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    ends_in(lambda: read_settings(RunConfig, {}, Offer(), path), ConfigError)


@search
@given(data=json_bytes(changed(CONCEPTS) | values))
def test_a_concept_list_is_read_or_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.json").write_bytes(data)
    ends_in(lambda: read_concepts(tmp_path / "a.json"), ConfigError)


_KINDS = [
    *(pa.string(), pa.large_string(), pa.int8(), pa.uint64(), pa.float32(), pa.float64()),
    *(pa.bool_(), pa.binary(), pa.date32(), pa.timestamp("us", tz="UTC"), pa.decimal128(38, 2)),
    *(pa.null(), pa.list_(pa.string()), pa.list_(pa.int32()), pa.large_list(pa.string())),
    *(pa.list_(pa.list_(pa.string())), pa.struct([("a", pa.string())])),
    *(pa.map_(pa.string(), pa.int64()), pa.dictionary(pa.int8(), pa.string())),
]
_NAMES = ["group_id", "prompts", "prompt", "seed", "num_seeds", "width", "background_prompt",
          "entity_prompts", "variation_kind", "edit_instruction", "mine", "Seed"]  # fmt: skip
_WORDS = (
    st.sampled_from(["A red kite.", "A blue kite.", "", "\0", "\u200b", "x" * 3000]) | st.text()
)


@st.composite
def _tables(draw: st.DrawFn) -> pa.Table:
    """Make tables that are nearly prompt sets: usual names, any types, rows of that type."""
    num_rows = draw(st.integers(0, 3))
    columns: dict[str, pa.Array] = {}
    for name in ["group_id", "prompts", *draw(st.lists(st.sampled_from(_NAMES), max_size=3))]:
        usual = pa.list_(pa.string()) if name in ("prompts", "entity_prompts") else pa.string()
        kind = draw(st.just(usual) | st.sampled_from(_KINDS))
        cells = st.none() | _cells(kind)
        drawn = [draw(cells) for _ in range(num_rows)]
        try:
            columns[name] = pa.array(drawn, kind)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):  # no file can hold it
            columns[name] = pa.nulls(num_rows, kind)
    return pa.table(columns)


def _cells(kind: pa.DataType) -> st.SearchStrategy[Any]:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return st.lists(_cells(kind.value_type), max_size=3)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _WORDS
    if pa.types.is_integer(kind):
        return st.integers(0, 100) | st.integers(-(2**70), 2**70)
    if pa.types.is_floating(kind):
        return st.floats(width=32)
    return st.booleans() if pa.types.is_boolean(kind) else st.none()


@search
@given(table=_tables(), on_bad_row=st.sampled_from(["fail", "quarantine"]))
def test_a_prompt_set_is_read_or_named(tmp_path: Path, table: pa.Table, on_bad_row: str) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(table, path)
    config = PromptSetConfig.model_validate({"uri": str(path), "on_bad_row": on_bad_row})
    if ends_in(lambda: check_prompt_set(config), PromptSetError):
        rows = list(read_prompt_set(config))
        assert all(isinstance(row, PromptGroup | QuarantinedRow) for row in rows)
        assert len(rows) <= table.num_rows


_CONFIGS = ("model_index.json", "transformer/config.json", "vae/config.json",
            "tokenizer_2/tokenizer_config.json")  # fmt: skip


@search
@given(data=st.data(), name=st.sampled_from(_CONFIGS))
def test_the_configuration_of_a_model_is_read_or_named(
    tmp_path: Path, data: st.DataObject, name: str
) -> None:
    from coupled_core.errors import ModelUnavailableError

    shipped = KNOWN_MODELS["miniature"].folder
    assert shipped is not None
    for each in _CONFIGS:
        (tmp_path / each).parent.mkdir(exist_ok=True)
        (tmp_path / each).write_bytes((shipped / each).read_bytes())
    for folder in ("tokenizer", "tokenizer_2"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "tokenizer.json").write_text("{}")
    right = json.loads((shipped / name).read_text())
    (tmp_path / name).write_bytes(data.draw(json_bytes(changed(right) | values)))
    ends_in(lambda: find_model_files(str(tmp_path), None), ModelUnavailableError)
