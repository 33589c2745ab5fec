"""Compare the estimate of tokens with a real tokenizer, on the checked groups.

    python -m infra.benchmarks.token_estimate --tokenizer tokenizer.json

Anthropic's last published tokenizer lies as `anthropic/tokenizer.json` in releases of its Python
SDK before 0.39. Printed, for the JSON of the prompts and for answers written out from the offline
splits: estimated / counted in sum, mean and 90th percentile of the absolute relative error.
`--write FILE` keeps the counts, by the hash of their text, for the test that holds the estimate.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from coupled_core.llm.estimate import estimate_tokens
from coupled_core.records import GroupSplit, PromptGroup
from coupled_core.research.split_precision import read_wild_groups
from coupled_core.research.splitters import read_checked_groups
from coupled_core.splitting.llm.estimate import estimate_split
from coupled_core.splitting.llm.question import INSTRUCTION, answer_schema, write_data
from coupled_core.splitting.offline import OfflineSplitter
from infra.benchmarks.arguments import build_parser

OTHER_LANGUAGES = frozenset(
    {"German", "French", "Spanish", "Italian, Portuguese, Russian", "Japanese", "Chinese"}
)


def main() -> None:
    parser = build_parser(__doc__)
    parser.add_argument("--tokenizer", type=Path, required=True, help="a tokenizer.json")
    parser.add_argument("--write", type=Path, help="where to keep the counts")
    arguments = parser.parse_args()
    counts = count_all(arguments.tokenizer)
    for name, pairs in compare(counts).items():
        print(describe(name, pairs))
    if arguments.write:
        arguments.write.write_text(json.dumps(counts, indent=0, sort_keys=True) + "\n")


def count_all(tokenizer_file: Path) -> dict[str, int]:
    """Return how many tokens each text has, by the hash of the text."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    return {name_text(text): len(tokenizer.encode(text).ids) for text in _texts()}


def compare(counts: Mapping[str, int]) -> dict[str, list[tuple[float, int]]]:
    """Return (estimated, counted) of every text whose count is known, by what it is."""
    pairs: dict[str, list[tuple[float, int]]] = {}

    def note(name: str, estimated: float, text: str) -> None:
        if (counted := counts.get(name_text(text))) is not None:
            pairs.setdefault(name, []).append((estimated, counted))

    for text in _fixed_texts():
        note("instruction and schema", estimate_tokens(text), text)
    for checked in read_checked_groups():
        text = write_data(checked.group.prompts, None)
        is_other = checked.kind in OTHER_LANGUAGES
        note("other languages" if is_other else "English", estimate_tokens(text), text)
    for group, text in write_answers(_splittable_groups()):
        note("answers", estimate_split(group).output, text)
    return pairs


def describe(name: str, pairs: Sequence[tuple[float, int]]) -> str:
    """Return one line about an estimate."""
    share, mean, high = errors_of(pairs)
    return (
        f"{name:24} n {len(pairs):3}  sum {share:.3f}  mean error {mean:.1%}  "
        f"90th percentile {high:.1%}"
    )


def errors_of(pairs: Sequence[tuple[float, int]]) -> tuple[float, float, float]:
    """Return estimated / counted in sum, mean and 90th percentile of the relative error."""
    estimated, counted = np.array(pairs, dtype=float).T
    errors = np.abs(estimated / counted - 1)
    return estimated.sum() / counted.sum(), errors.mean(), np.quantile(errors, 0.9)


def name_text(text: str) -> str:
    """Return the name of a text among the counts."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_answers(groups: Sequence[PromptGroup]) -> Iterator[tuple[PromptGroup, str]]:
    """Yield the groups that the offline rules can split, with the model's answer to that effect."""
    for group, split in zip(groups, OfflineSplitter().split(groups), strict=True):
        if isinstance(split, GroupSplit) and all(e.text for e in split.edit_instructions.values()):
            yield group, _write_answer(split)


def _write_answer(split: GroupSplit) -> str:
    edits = split.edit_instructions
    pairs = [
        {
            "image_0": i,
            "image_1": j,
            "edit_instruction": edits[i, j].text,
            "inverse_instruction": edits[j, i].text,
        }
        for i, j in combinations(range(len(split.entity_prompts)), 2)
    ]
    answer = {
        "shares_background": True,
        "background_prompt": split.background_prompt,
        "entity_prompts": split.entity_prompts,
        "pairs": pairs,
        "variation_kind": split.variation_kind,
        "flagged": False,
        "flag_reason": "",
    }
    return json.dumps(answer, ensure_ascii=False)


def _splittable_groups() -> list[PromptGroup]:
    """Return groups of which the rules can split enough: they refuse most of the checked ones."""
    checked = [checked.group for checked in read_checked_groups()]
    return checked + [wild.group for wild in read_wild_groups()]


def _texts() -> Iterator[str]:
    yield from _fixed_texts()
    yield from (write_data(checked.group.prompts, None) for checked in read_checked_groups())
    yield from (text for _, text in write_answers(_splittable_groups()))


def _fixed_texts() -> Sequence[str]:
    return (INSTRUCTION, json.dumps(answer_schema()))


if __name__ == "__main__":
    main()
