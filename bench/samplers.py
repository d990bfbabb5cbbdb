"""This project and its peers as writers of ids, at random weights of the same shape, each in a process of its own."""

import io
from collections.abc import Callable, Iterator
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from torch import nn

from bench.machine import Protocol, forget_peak, median_seconds, peak_in_use, seconds_of
from bench.ours import VOCABULARY_SIZE, Shape
from bench.peers import count, import_file, version
from bench.sampling_report import Turn
from bench.workers import Answer, Ready
from conf.schema import SamplingRuntimeConfig
from model.config import DecoderConfig, PositionKind
from model.decoder import Decoder
from sampling.filters import SamplingParams
from sampling.generate import generate
from sampling.packing import PackedLinear
from training.config import Device, Precision
from training.device import prepare_for_sampling

TEMPERATURE = 0.8
PROMPT = 0  # the one id that all write on from
POSITIONS = 1024  # of transformers' GPT-2, whose places cannot run out: more than are ever read
WARM_UP = 16  # ids that are written before anything is timed
FIRST = Protocol(warm_up=1, repeats=5, seconds=0)  # calls for a single id


@dataclass(frozen=True)
class Writer:
    """A contestant ready to write."""

    write: Callable[[int], int]  # so many ids of each sequence: how many came, of all sequences together
    parameters: int
    settings: str  # how it runs, in words


@dataclass(frozen=True)
class Contestant:
    name: str
    prepare: Callable[[Shape, torch.device], Writer]  # the batch of the shape: sequences that are written side by side
    ours: bool = False  # what the others are compared with


def as_sampled(decoder: Decoder, rows: int, precision: Precision = Precision.auto) -> Decoder:
    """The decoder as sample.py writes so many sequences with it, on its device."""
    device = Device(decoder.embedding.weight.device.type)
    return prepare_for_sampling(decoder, SamplingRuntimeConfig(device=device, precision=precision), rows)[0]


def new_decoder(shape: Shape, position: PositionKind, device: torch.device) -> Decoder:
    """With random weights, the same each time."""
    config = DecoderConfig(
        layers=shape.layers, heads=shape.heads, width=shape.width, context=shape.context, position=position
    )
    return Decoder(config, VOCABULARY_SIZE, torch.Generator().manual_seed(0)).to(device)


def written(decoder: Decoder, count: int = 1) -> Iterator[list[int]]:
    """The next id of each sequence, without end, by `generate`, which hands it over once it is there."""
    return generate(decoder, [PROMPT], SamplingParams(temperature=TEMPERATURE), count=count)


def charscope(precision: Precision, position: PositionKind, shape: Shape, device: torch.device) -> Writer:
    """As sample.py writes."""
    plain = new_decoder(shape, position, device)
    decoder = as_sampled(plain, shape.batch, precision)

    def write(length: int) -> int:
        return sum(map(len, islice(written(decoder, shape.batch), length)))

    return Writer(write, plain.parameter_count(), f"{product_types(decoder)}, {position}")


def product_types(decoder: Decoder) -> str:
    """What the maps of its blocks compute in."""
    packed = {module.dtype for module in decoder.modules() if isinstance(module, PackedLinear)}
    plain = {module.weight.dtype for block in decoder.blocks for module in block.modules() if type(module) is nn.Linear}
    dtypes = packed | plain
    return " and ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))


def nanogpt(folder: Path, shape: Shape, device: torch.device) -> Writer:
    """github.com/karpathy/nanoGPT as its sample.py samples."""
    on_gpu = device.type == "cuda"
    half = torch.bfloat16 if on_gpu and torch.cuda.is_bf16_supported() else torch.float16
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    sizes = {"n_layer": shape.layers, "n_head": shape.heads, "n_embd": shape.width, "block_size": shape.context}
    with redirect_stdout(io.StringIO()):  # it reports on itself
        source = import_file(folder / "model.py", "nanogpt_model")
        config = source.GPTConfig(**sizes, vocab_size=VOCABULARY_SIZE, dropout=0.0, bias=False)
        model = source.GPT(config).to(device).eval()
    prompts = torch.full((shape.batch, 1), PROMPT, device=device)

    def write(length: int) -> int:
        with torch.no_grad(), torch.autocast(device.type, half) if on_gpu else nullcontext():
            return model.generate(prompts, length, temperature=TEMPERATURE)[:, 1:].numel()

    return Writer(write, count(model), f"{str(half).removeprefix('torch.')} autocast" if on_gpu else "float32")


def transformers(shape: Shape, device: torch.device) -> Writer:
    """GPT-2 of Hugging Face, which remembers keys and values, of all ids that it has read."""
    from transformers import GPT2Config, GPT2LMHeadModel
    from transformers.utils import logging

    logging.set_verbosity_error()
    config = GPT2Config(
        vocab_size=VOCABULARY_SIZE,
        n_positions=POSITIONS,
        n_layer=shape.layers,
        n_head=shape.heads,
        n_embd=shape.width,
        use_cache=True,
        bos_token_id=None,  # the defaults lie outside the vocabulary
        eos_token_id=None,  # nothing ends before its length
    )
    model = GPT2LMHeadModel(config).to(device).eval()
    prompts = torch.full((shape.batch, 1), PROMPT, device=device)
    options = {"do_sample": True, "temperature": TEMPERATURE, "top_k": 0, "pad_token_id": 0}

    @torch.inference_mode()
    def write(length: int) -> int:
        mask = torch.ones_like(prompts)
        return model.generate(prompts, attention_mask=mask, max_new_tokens=length, **options)[:, 1:].numel()

    return Writer(write, count(model), "float32")


def contestants(nanogpt_folder: Path | None) -> tuple[list[Contestant], dict[str, str]]:
    """All that are there, ours first, and why others are left out."""
    entrants = [
        Contestant("charscope", partial(charscope, Precision.auto, PositionKind.rotary), ours=True),
        Contestant("charscope, fp32", partial(charscope, Precision.fp32, PositionKind.rotary), ours=True),
        Contestant("charscope, learned positions", partial(charscope, Precision.auto, PositionKind.learned), ours=True),
    ]
    left_out = {}
    if nanogpt_folder:
        entrants.append(Contestant("nanoGPT", partial(nanogpt, nanogpt_folder)))
    else:
        left_out["nanoGPT"] = "no --nanogpt says where it is"
    if version("transformers"):
        entrants.append(Contestant("transformers", transformers))
    else:
        left_out["transformers"] = "it is not installed: pip install --constraint constraints.txt --editable '.[bench]'"
    return entrants, left_out


# In the process of a contestant


def get_ready(contestant: Contestant, shape: Shape, device: torch.device) -> tuple[Ready, Answer]:
    """Warmed up, to answer each (filling, whole), numbers of ids, with a Turn."""
    writer = contestant.prepare(shape, device)
    before = forget_peak(device)
    if (came := writer.write(WARM_UP)) != WARM_UP * shape.batch:
        raise ValueError(f"expected {WARM_UP * shape.batch} ids, got {came}")

    def answer(lengths: tuple[int, int]) -> Turn:
        first = median_seconds(lambda: writer.write(1), device, FIRST)
        filling, whole = (seconds_of(partial(writer.write, length), device) for length in lengths)
        return Turn(first, filling, whole, peak_in_use(device) - before)

    return Ready(writer.parameters, writer.settings), answer
