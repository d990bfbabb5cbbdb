"""This project and its peers as contestants: each ready to train a decoder of the same shape, each as it ships."""

import importlib.metadata
import importlib.util
import io
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

from bench.ours import VOCABULARY_SIZE, Ours, Shape
from model.config import PositionKind
from training.config import Compile, OptimizerKind

Step = Callable[[Tensor, Tensor], None]  # inputs and targets, (B, T) int64 each


@dataclass(frozen=True)
class Training:
    """A contestant ready to train."""

    step: Step  # from the forward pass to the new weights, with gradients cleared
    parameters: int
    settings: str  # how it runs, in words


@dataclass(frozen=True)
class Contestant:
    name: str
    prepare: Callable[[Shape, torch.device], Training]
    package: str | None = None  # that must be installed, beside torch
    ours: bool = False  # what the others are compared with
    compiled: bool = False  # which takes its time


def version(package: str) -> str | None:
    """The version that is installed, if any is."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def commit(folder: Path) -> str:
    """The commit that is checked out in `folder`, and whether files differ from it."""
    if not (folder / ".git").exists():  # git would answer for a checkout around it
        return "not a git checkout"
    command = ("git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty")
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown: git cannot say"


def charscope(
    compile_: Compile, optimizer: OptimizerKind, position: PositionKind, shape: Shape, device: torch.device
) -> Training:
    """A step as `training.loop.fit` takes it."""
    ours = Ours.of(shape, device, compile_, optimizer, position)
    return Training(ours.step, ours.decoder.parameter_count(), f"{ours.described()}, {position}")


# As the presets have it, and with what the peers have by default: AdamW, and positions that are added.
OUR_CONTESTANTS = [
    Contestant(
        f"charscope{name}{', compiled' if compiled else ''}",
        partial(charscope, Compile.on if compiled else Compile.off, optimizer, position),
        ours=True,
        compiled=compiled,
    )
    for name, optimizer, position in (
        ("", OptimizerKind.muon, PositionKind.rotary),
        (" with AdamW", OptimizerKind.adamw, PositionKind.sinusoidal),
    )
    for compiled in (False, True)
]


def nanogpt(folder: Path, shape: Shape, device: torch.device) -> Training:
    """github.com/karpathy/nanoGPT as its train.py trains: on a CPU with what the README says to switch off there."""
    on_gpu = device.type == "cuda"
    half = torch.bfloat16 if on_gpu and torch.cuda.is_bf16_supported() else torch.float16
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    with redirect_stdout(io.StringIO()):  # it reports on itself
        source = import_file(folder / "model.py", "nanogpt_model")
        config = source.GPTConfig(
            block_size=shape.context,
            vocab_size=VOCABULARY_SIZE,
            n_layer=shape.layers,
            n_head=shape.heads,
            n_embd=shape.width,
            dropout=0.0,
            bias=False,
        )
        model = source.GPT(config).to(device)
        optimizer = model.configure_optimizers(1e-1, 1e-3, (0.9, 0.99), device.type)
    scaler = torch.amp.GradScaler(device.type, enabled=on_gpu and half is torch.float16)
    compiled = torch.compile(model) if on_gpu else model

    def step(inputs: Tensor, targets: Tensor) -> None:
        with torch.autocast(device.type, half) if on_gpu else nullcontext():
            _, loss = compiled(inputs, targets)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)

    precision = f"{'fp16' if half is torch.float16 else 'bf16'}, compiled" if on_gpu else "fp32"
    return Training(step, count(model), f"{precision}, {type(optimizer).__name__}")


def import_file(file: Path, name: str) -> ModuleType:
    """The Python file as a module, wherever it lies."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and torch's compiler look modules up there
    spec.loader.exec_module(module)
    return module


def transformers(shape: Shape, device: torch.device) -> Training:
    """GPT-2 of Hugging Face, from scratch."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=VOCABULARY_SIZE,
        n_positions=shape.context,
        n_layer=shape.layers,
        n_head=shape.heads,
        n_embd=shape.width,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,  # as its Trainer sets it: keys and values need no keeping in training
        bos_token_id=0,  # the defaults lie outside the vocabulary
        eos_token_id=0,
    )
    model = GPT2LMHeadModel(config).to(device)
    return plain(model, lambda inputs: model(input_ids=inputs).logits)


def x_transformers(shape: Shape, device: torch.device) -> Training:
    """github.com/lucidrains/x-transformers; its heads are 64 wide by default, whatever the width of the model."""
    from x_transformers import Decoder as Layers
    from x_transformers import TransformerWrapper

    layers = Layers(dim=shape.width, depth=shape.layers, heads=shape.heads, attn_dim_head=shape.width // shape.heads)
    model = TransformerWrapper(num_tokens=VOCABULARY_SIZE, max_seq_len=shape.context, attn_layers=layers).to(device)
    return plain(model, model)


def torch_encoder(shape: Shape, device: torch.device) -> Training:
    """torch's own layers."""
    model = TorchEncoder(shape).to(device)
    return plain(model, model)


class TorchEncoder(nn.Module):
    """Pre-norm blocks of torch, made causal, between an embedding with learned positions and a linear head."""

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
        self.head = nn.Linear(shape.width, VOCABULARY_SIZE)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(shape.context))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids) + self.position
        return self.head(self.blocks(x, mask=self.mask, is_causal=True))


def plain(model: nn.Module, logits: Callable[[Tensor], Tensor]) -> Training:
    """What torch's tutorials do, for peers that leave training to their users."""
    optimizer = torch.optim.AdamW(model.parameters())
    model.train()

    def step(inputs: Tensor, targets: Tensor) -> None:
        F.cross_entropy(logits(inputs).flatten(0, 1), targets.flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()

    return Training(step, count(model), "fp32, AdamW")


def count(model: nn.Module) -> int:
    """Parameters, shared ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def contestants(nanogpt_folder: Path | None) -> list[Contestant]:
    """All of them, ours first."""
    peers = [
        Contestant("transformers", transformers, package="transformers"),
        Contestant("x-transformers", x_transformers, package="x-transformers"),
        Contestant("torch.nn.TransformerEncoder", torch_encoder),
    ]
    if nanogpt_folder:
        peers.insert(0, Contestant("nanoGPT", partial(nanogpt, nanogpt_folder)))
    return [*OUR_CONTESTANTS, *peers]
