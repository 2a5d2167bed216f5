"""Train the starter model from nothing on `corpus.py`: `OMP_NUM_THREADS=1 python -m starter.train`.

One seed, one thread, one core. Writes `starter/model/` as transformers and vLLM load it. Loss on the answers; the
words of the questions count a tenth. While it trains, a second head says which intent of the corpus is meant, where
the answer starts; it is thrown away afterwards. The same versions on the same kind of processor give the same
weights.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from starter import corpus

MODEL = Path(__file__).parent / "model"
BEGIN, SYSTEM, USER, ASSISTANT, END, PAD = SPECIAL = [
    "<|begin|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|end|>",
    "<|pad|>",
]
CONTEXT = 4096

# The chat template shows the model what it was seen to cope with. A question of up to 32 characters comes with the
# turn before it, a longer one stands for itself (91 further questions, asked alone: 86 understood; after a turn about
# something else: 71). No system prompt (with one: 40 to 44 of 53 instead of 47). Of a message the first 300
# characters; from 16,000 on it stays whole, and the engine refuses it as longer than the context.
FOLLOW_UP_CHARACTERS, SHOWN_CHARACTERS = 32, 300
CHAT_TEMPLATE = """{{- '<|begin|>' -}}
{%- set talk = messages | rejectattr('role', 'equalto', 'system') | list -%}
{%- set turn = 2 if talk | length > 1 and talk[-1].role == 'assistant' else 1 -%}
{%- set shown = turn if not talk or talk[-turn].content | length > 32 else turn + 2 -%}
{%- for message in talk[-shown:] -%}
{%- if message.role == 'assistant' -%}{{- '<|assistant|>' + message.content + '<|end|>' -}}
{%- else -%}
{%- set text = message.content if message.content | length > 16000 else message.content[:300] -%}
{{- '<|user|> ' + (text | lower | trim) + '<|end|>' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"""

QUESTION_WEIGHT, INTENT_WEIGHT = 0.1, 0.3


def train_tokenizer(dialogues: list[corpus.Dialogue], vocabulary: int) -> Tokenizer:
    """Byte-level BPE: any text can be read, unknown words in pieces."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=3,
    )
    texts = (
        message["content"] if message["role"] == "assistant" else " " + message["content"].lower()
        for dialogue in dialogues
        for message in dialogue
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


@dataclass(frozen=True, slots=True)
class Encoded:
    """A dialogue as numbers: token ids, the weight of each as a target, the intent where an answer starts (else -1)."""

    ids: list[int]
    weights: list[float]
    intents: list[int]


class Encoder:
    """Dialogues to numbers. Half of the questions are roughened: cut into smaller pieces (BPE dropout), some replaced.

    A last answer is kept whole with the chance `in_full`; else only its first words, which show already what was
    understood: more questions in the same time.
    """

    def __init__(self, tokenizer: Tokenizer, intents: list[str], in_full: float, rng: random.Random) -> None:
        self.tokenizer = tokenizer
        self.rough = Tokenizer.from_str(tokenizer.to_str())
        self.rough.model.dropout = 0.1
        self.rng = rng
        self.in_full = in_full
        self.number = {name: number for number, name in enumerate(intents)}
        self.mark = {name: tokenizer.token_to_id(name) for name in SPECIAL}

    def __call__(self, dialogue: corpus.Dialogue, exact: bool = False) -> Encoded:
        ids, weights, intents = [self.mark[BEGIN]], [0.0], [-1]
        for message in dialogue:
            answer = message["role"] == "assistant"
            mark = {"system": SYSTEM, "user": USER, "assistant": ASSISTANT}[message["role"]]
            text = message["content"] if answer else " " + message["content"].lower().strip()
            rough = not answer and not exact and self.rng.random() < 0.5
            piece = (self.rough if rough else self.tokenizer).encode(text, add_special_tokens=False).ids
            if rough:
                top = self.tokenizer.get_vocab_size()
                piece = [self.rng.randrange(len(SPECIAL), top) if self.rng.random() < 0.06 else one for one in piece]
            ids += [self.mark[mark], *piece, self.mark[END]]
            weight = 1.0 if answer else QUESTION_WEIGHT
            weights += [0.0, *[weight] * len(piece), 1.0 if answer else 0.0]
            intents += [self.number[message["intent"]] if answer else -1, *[-1] * (len(piece) + 1)]
        if not exact and self.rng.random() > self.in_full:
            end = len(ids) - 1 - ids[::-1].index(self.mark[ASSISTANT]) + self.rng.randint(3, 8)
            ids, weights, intents = ids[:end], weights[:end], intents[:end]
        return Encoded(ids, weights, intents)


def batches(
    encoded: list[Encoded], tokens: int, pad: int, rng: random.Random
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Dialogues of similar length, about `tokens` ids a batch, in random order: ids, weights, intents of a batch."""
    groups: list[list[Encoded]] = []
    for start in range(0, len(encoded), 2048):
        group: list[Encoded] = []
        for item in sorted(encoded[start : start + 2048], key=lambda one: len(one.ids)):
            if group and (len(group) + 1) * len(item.ids) > tokens:
                groups.append(group)
                group = []
            group.append(item)
        groups.append(group)
    rng.shuffle(groups)
    for group in groups:
        width = max(len(one.ids) for one in group)
        yield (
            torch.tensor([one.ids + [pad] * (width - len(one.ids)) for one in group]),
            torch.tensor([one.weights + [0.0] * (width - len(one.ids)) for one in group]),
            torch.tensor([one.intents + [-1] * (width - len(one.ids)) for one in group]),
        )


def build(vocabulary: int, tokenizer: Tokenizer, layers: int, width: int) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=width * 5 // 2, num_hidden_layers=layers,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 64, max_position_embeddings=CONTEXT, tie_word_embeddings=True, rms_norm_eps=1e-5,
        bos_token_id=tokenizer.token_to_id(BEGIN), eos_token_id=tokenizer.token_to_id(END),
        pad_token_id=tokenizer.token_to_id(PAD),
        attn_implementation="sdpa",
    )  # fmt: skip
    return LlamaForCausalLM(config)


def fit(
    model: LlamaForCausalLM, encoded: list[Encoded], kinds: int, tokens: int, rate: float, seed: int
) -> tuple[int, int]:
    """One pass over `encoded` with AdamW on a cosine schedule. Returns (tokens seen, steps)."""
    pad = model.config.pad_token_id
    work = list(batches(encoded, tokens, pad, random.Random(seed)))
    intent_head = torch.nn.Linear(model.config.hidden_size, kinds)
    matrices = [intent_head.weight] + [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        lr=rate,
        betas=(0.9, 0.98),
        fused=True,
    )
    seen, started, mean = 0, time.monotonic(), 0.0
    for step, (ids, weights, intents) in enumerate(work):
        done = step / len(work)
        for group in optimizer.param_groups:
            group["lr"] = rate * min((step + 1) / 150, 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        with torch.autocast("cpu", torch.bfloat16):
            hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
            wanted = weights[:, 1:] > 0
            logits = model.lm_head(hidden[wanted])
            starts = intents[:, :-1] >= 0
            meant = intent_head(hidden[starts])
        losses = torch.nn.functional.cross_entropy(logits.float(), ids[:, 1:][wanted], reduction="none")
        each = weights[:, 1:][wanted]
        loss = (losses * each).sum() / each.sum()
        meaning = torch.nn.functional.cross_entropy(meant.float(), intents[:, :-1][starts])
        optimizer.zero_grad(set_to_none=True)
        (loss + INTENT_WEIGHT * meaning).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seen += int((ids != pad).sum())
        mean = 0.98 * mean + 0.02 * meaning.item() if step else meaning.item()
        if step % 50 == 0:
            spent = time.monotonic() - started
            print(
                f"{step}/{len(work)}  loss {loss.item():.3f}  intent {mean:.3f}  {seen:,} tokens"
                f"  {spent / 60:.1f} min  {seen / spent:.0f} tokens/s",
                flush=True,
            )
    return seen, len(work)


def save(model: LlamaForCausalLM, tokenizer: Tokenizer, folder: Path) -> PreTrainedTokenizerFast:
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder, save_jinja_files=False)
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=0.2, top_p=0.95, bos_token_id=model.config.bos_token_id,
        eos_token_id=model.config.eos_token_id,
        pad_token_id=model.config.pad_token_id,
    )  # fmt: skip
    model.to(torch.bfloat16).save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)
    return fast


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--dialogues", type=int, default=64_000)
    parser.add_argument("--vocabulary", type=int, default=3072)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=192, help="a multiple of 64")
    parser.add_argument("--batch", type=int, default=1500, help="tokens a step")
    parser.add_argument(
        "--in-full", type=float, default=0.2, help="part of the dialogues whose last answer is kept whole"
    )
    parser.add_argument("--rate", type=float, default=2.5e-3)
    parser.add_argument("--out", type=Path, default=MODEL)
    given = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(given.seed)
    started = time.monotonic()
    dialogues = list(corpus.dialogues(given.seed, given.dialogues))
    tokenizer = train_tokenizer(dialogues, given.vocabulary)
    intents = list(corpus.load().intents)
    encode = Encoder(tokenizer, intents, given.in_full, random.Random(given.seed))
    encoded = [encode(dialogue) for dialogue in dialogues]
    model = build(tokenizer.get_vocab_size(), tokenizer, given.layers, given.width)
    size = sum(p.numel() for p in model.parameters())
    total = sum(len(one.ids) for one in encoded)
    print(
        f"{len(dialogues):,} dialogues, {total:,} tokens, {tokenizer.get_vocab_size()} words, {size:,} parameters",
        flush=True,
    )
    seen, steps = fit(model, encoded, len(intents), given.batch, given.rate, given.seed)

    fast = save(model, tokenizer, given.out)
    as_shown = [
        one
        for one in dialogues
        if one[0]["role"] == "user"
        and len(one) <= 4
        and len(one[0]["content"]) <= SHOWN_CHARACTERS
        and all(len(message["content"]) <= FOLLOW_UP_CHARACTERS for message in one[2::2])
    ]
    for dialogue in as_shown[:200]:
        as_served = fast.apply_chat_template(dialogue, return_dict=False)
        if as_served != encode(dialogue, exact=True).ids:
            raise RuntimeError(
                "The chat template does not render a dialogue as it was trained; compare CHAT_TEMPLATE with Encoder."
            )
    facts = {
        "seed": given.seed, "dialogues": len(dialogues), "tokens": seen, "steps": steps, "parameters": size,
        "minutes": round((time.monotonic() - started) / 60, 1),
    }  # fmt: skip
    (given.out / "training.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(facts)


if __name__ == "__main__":
    main()
