"""The peers at a given shape, training and sampling as each ships, with random weights."""

import importlib.util
import io
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

from bench.harness import commit
from bench.llama2c import LLAMA2C, sample_llama2c
from bench.training_step import VOCABULARY_SIZE, Shape
from bench.workers import Contestant, Model

TEMPERATURE = 0.8
PROMPT = 0  # the one id that samples go on from
NAMES = {torch.bfloat16: "bf16", torch.float16: "fp16"}
POSITIONS = 1024  # of transformers' GPT-2 in sampling: more than are ever read


def training_peers(nanogpt: Path | None, data: dict[str, Any]) -> list[Contestant]:
    return [
        *_nanogpt(nanogpt, train_nanogpt, data),
        Contestant("transformers", train_transformers, package="transformers"),
        Contestant("x-transformers", train_x_transformers, package="x-transformers"),
        Contestant("torch.nn.TransformerEncoder", train_torch_encoder),
    ]


def sampling_peers(nanogpt: Path | None, llama2c: Path | None, data: dict[str, Any]) -> list[Contestant]:
    transformers = Contestant("transformers", sample_transformers, package="transformers")
    peers = [*_nanogpt(nanogpt, sample_nanogpt, data), transformers]
    if llama2c is None:
        data["left_out"][LLAMA2C] = "no --llama2c says where it is"
        return peers
    data["versions"][LLAMA2C] = commit(llama2c)
    return [*peers, Contestant(LLAMA2C, partial(sample_llama2c, llama2c, TEMPERATURE))]


def _nanogpt(folder: Path | None, prepare: Callable[..., Any], data: dict[str, Any]) -> list[Contestant]:
    if folder is None:
        data["left_out"]["nanoGPT"] = "no --nanogpt says where it is"
        return []
    data["versions"]["nanoGPT"] = commit(folder)
    return [Contestant("nanoGPT", partial(prepare, folder))]


# nanoGPT: on a CPU with what its README says to switch off there


def train_nanogpt(folder: Path, shape: Shape, device: torch.device) -> Model:
    """As its train.py trains."""
    on_gpu = device.type == "cuda"
    model, autocast, half = nanogpt_model(folder, shape, device)
    with redirect_stdout(io.StringIO()):  # it prints
        optimizer = model.configure_optimizers(1e-1, 1e-3, (0.9, 0.99), device.type)
    scaler = torch.amp.GradScaler(device.type, enabled=on_gpu and half is torch.float16)
    compiled = torch.compile(model) if on_gpu else model

    def step(inputs: Tensor, targets: Tensor) -> None:
        with autocast():
            _, loss = compiled(inputs, targets)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)

    precision = f"{NAMES[half]}, compiled" if on_gpu else "fp32"
    return Model(step, count(model), f"{precision}, {type(optimizer).__name__}")


def sample_nanogpt(folder: Path, shape: Shape, device: torch.device) -> Model:
    """As its sample.py samples."""
    model, autocast, half = nanogpt_model(folder, shape, device)
    model.eval()
    prompts = torch.full((shape.batch, 1), PROMPT, device=device)

    def write(length: int) -> int:
        with torch.no_grad(), autocast():
            return model.generate(prompts, length, temperature=TEMPERATURE)[:, 1:].numel()

    return Model(write, count(model), f"{NAMES[half]} autocast" if device.type == "cuda" else "fp32")


def nanogpt_model(
    folder: Path, shape: Shape, device: torch.device
) -> tuple[Any, Callable[[], AbstractContextManager[object]], torch.dtype]:
    """The model, the context in which it runs, and the half precision of that on a GPU."""
    half = torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float16
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    sizes = {"n_layer": shape.layers, "n_head": shape.heads, "n_embd": shape.width, "block_size": shape.context}
    with redirect_stdout(io.StringIO()):
        source = import_file(folder / "model.py", "nanogpt_model")
        model = source.GPT(source.GPTConfig(**sizes, vocab_size=VOCABULARY_SIZE, dropout=0.0, bias=False)).to(device)
    return model, (lambda: torch.autocast("cuda", half)) if device.type == "cuda" else nullcontext, half


def import_file(file: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and torch's compiler look modules up there
    spec.loader.exec_module(module)
    return module


# transformers: GPT-2 of Hugging Face


def gpt2(shape: Shape, device: torch.device, **changes: Any) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel
    from transformers.utils import logging

    logging.set_verbosity_error()
    sizes = {"n_layer": shape.layers, "n_head": shape.heads, "n_embd": shape.width, "n_positions": shape.context}
    return GPT2LMHeadModel(GPT2Config(**sizes | {"vocab_size": VOCABULARY_SIZE} | changes)).to(device)


def train_transformers(shape: Shape, device: torch.device) -> Model:
    no_dropout = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    # As its Trainer sets it, no keys and values are kept; the default ids of special tokens lie outside the vocabulary.
    model = gpt2(shape, device, **no_dropout, use_cache=False, bos_token_id=0, eos_token_id=0)
    return train_plainly(model, lambda inputs: model(input_ids=inputs).logits)


def sample_transformers(shape: Shape, device: torch.device) -> Model:
    """With its cache of keys and values, which does not slide."""
    model = gpt2(shape, device, n_positions=POSITIONS, use_cache=True, bos_token_id=None, eos_token_id=None).eval()
    prompts = torch.full((shape.batch, 1), PROMPT, device=device)
    options = {"do_sample": True, "temperature": TEMPERATURE, "top_k": 0, "pad_token_id": 0}

    @torch.inference_mode()
    def write(length: int) -> int:
        mask = torch.ones_like(prompts)
        return int(model.generate(prompts, attention_mask=mask, max_new_tokens=length, **options)[:, 1:].numel())

    return Model(write, count(model), "fp32")


# x-transformers and torch's own layers


def train_x_transformers(shape: Shape, device: torch.device) -> Model:
    """Its heads are 64 wide by default, whatever the width of the model."""
    from x_transformers import Decoder as Layers
    from x_transformers import TransformerWrapper

    layers = Layers(dim=shape.width, depth=shape.layers, heads=shape.heads, attn_dim_head=shape.width // shape.heads)
    model = TransformerWrapper(num_tokens=VOCABULARY_SIZE, max_seq_len=shape.context, attn_layers=layers).to(device)
    return train_plainly(model, model)


def train_torch_encoder(shape: Shape, device: torch.device) -> Model:
    model = TorchEncoder(shape).to(device)
    return train_plainly(model, model)


class TorchEncoder(nn.Module):
    """Pre-norm blocks of torch, made causal, between an embedding with learned positions and an output layer."""

    mask: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            shape.width, shape.heads, dim_feedforward=4 * shape.width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.embedding = nn.Embedding(VOCABULARY_SIZE, shape.width)
        self.position = nn.Parameter(0.02 * torch.randn(shape.context, shape.width))
        norm = nn.LayerNorm(shape.width)
        # Nested tensors are for padding in inference, and not to be had with norm_first.
        self.blocks = nn.TransformerEncoder(layer, shape.layers, norm, enable_nested_tensor=False)
        self.output = nn.Linear(shape.width, VOCABULARY_SIZE)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(shape.context))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids) + self.position
        return self.output(self.blocks(x, mask=self.mask, is_causal=True))


def train_plainly(model: nn.Module, logits: Callable[[Tensor], Tensor]) -> Model:
    """As in torch's tutorials, for peers that leave training to their users."""
    optimizer = torch.optim.AdamW(model.parameters())
    model.train()

    def step(inputs: Tensor, targets: Tensor) -> None:
        F.cross_entropy(logits(inputs).flatten(0, 1), targets.flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()

    return Model(step, count(model), "fp32, AdamW")


def count(model: nn.Module) -> int:
    """Parameters, shared ones once."""
    return sum(parameter.numel() for parameter in model.parameters())
