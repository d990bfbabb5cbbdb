"""Single-head and multi-head self-attention."""

from torch import Tensor, nn

from model.attention_pooling import AttentionPooling, LayerCache


class SingleHeadAttention(nn.Module):
    """One head: query, key and value without bias, no output projection."""

    def __init__(self, width: int, head_size: int, pooling: AttentionPooling | None = None) -> None:
        """`pooling` defaults to causal scaled dot-product attention."""
        super().__init__()
        self.pooling = pooling or AttentionPooling()
        if self.pooling.scoring.uses_query_key:
            self.key = nn.Linear(width, head_size, bias=False)
            self.query = nn.Linear(width, head_size, bias=False)
        self.value = nn.Linear(width, head_size, bias=False)

    def forward(self, x: Tensor, valid_lens: Tensor | None = None, layer_cache: LayerCache | None = None) -> Tensor:
        """(B, T, C) -> (B, T, D)."""
        return self.combine(self.pooling(*self.projections(x), valid_lens, layer_cache))

    def weights(self, x: Tensor, valid_lens: Tensor | None = None) -> Tensor:
        """Attention weights of input (B, T, C): (B, 1, T, T)."""
        query, key, _ = self.projections(x)
        return self.pooling.weights(query, key, valid_lens)

    def combine(self, heads: Tensor) -> Tensor:
        """Output of the one head (B, 1, T, D) -> (B, T, D)."""
        return heads.squeeze(1)

    def value_norms(self, value: Tensor) -> Tensor:
        """|v| of values (B, 1, T, D): (B, 1, T)."""
        return value.norm(dim=-1)

    def projections(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, 1, T, D) of input (B, T, C)."""
        value = self.value(x).unsqueeze(1)  # (B, 1, T, D)
        if not self.pooling.scoring.uses_query_key:
            return value, value, value  # only the shapes of queries and keys are used
        return self.query(x).unsqueeze(1), self.key(x).unsqueeze(1), value


class MultiHeadAttention(nn.Module):
    """`heads` heads of size C / heads as one batched product, then an output projection (Vaswani et al. 2017)."""

    def __init__(self, width: int, heads: int, bias: bool = False, pooling: AttentionPooling | None = None) -> None:
        """`pooling` as in `SingleHeadAttention`. Raises ValueError unless `heads` divides `width`."""
        super().__init__()
        if width % heads:
            raise ValueError(f"expected heads to divide the width of {width}, got {heads}")
        self.heads = heads
        self.pooling = pooling or AttentionPooling()
        if self.pooling.scoring.uses_query_key:
            self.query_key_value = nn.Linear(width, 3 * width, bias=bias)  # three linear layers in one product
        else:
            self.value = nn.Linear(width, width, bias=bias)
        self.output = nn.Linear(width, width, bias=bias)

    def forward(self, x: Tensor, valid_lens: Tensor | None = None, layer_cache: LayerCache | None = None) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        return self.combine(self.pooling(*self.projections(x), valid_lens, layer_cache))

    def weights(self, x: Tensor, valid_lens: Tensor | None = None) -> Tensor:
        """Attention weights of input (B, T, C): (B, H, T, T)."""
        query, key, _ = self.projections(x)
        return self.pooling.weights(query, key, valid_lens)

    def combine(self, heads: Tensor) -> Tensor:
        """Outputs of all heads (B, H, T, D), concatenated and projected -> (B, T, C)."""
        return self.output(heads.transpose(1, 2).flatten(2))  # (B, T, H, D) -> (B, T, C)

    def value_norms(self, value: Tensor) -> Tensor:
        """|v W_O| of each head's values (B, H, T, D): (B, H, T), W_O the head's rows of the output projection.

        What attention to that key adds to the residual stream, by weight (Kobayashi et al. 2020, section 3).
        """
        head_weights = self.output.weight.unflatten(1, (self.heads, -1)).permute(1, 2, 0)  # (C, H, D) -> (H, D, C)
        return (value @ head_weights).norm(dim=-1)

    def projections(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, H, T, D) of input (B, T, C)."""
        B, T, C = x.shape
        projected = self.query_key_value(x) if self.pooling.scoring.uses_query_key else self.value(x)  # (B, T, 3C or C)
        split = projected.view(B, T, -1, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)  # (3 or 1, B, H, T, D)
        query, key, value = split.expand(3, -1, -1, -1, -1)  # a mean uses only the shapes of queries and keys
        return query, key, value
