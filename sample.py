"""Sample text from a trained model, or score a text: `python sample.py --help`."""

import sys
from functools import partial
from typing import TYPE_CHECKING

from cli.command import Command
from conf.schema import SampleConfig
from errors import UserError
from terminal import visible

if TYPE_CHECKING:
    from data.vocabulary import Vocabulary
    from model.decoder import Decoder
    from sampling.stream import SamplingRequest
    from training.checkpoint import Checkpoint


@partial(Command, name="sample", free_text=("checkpoint", "prompt", "prompt_file", "output"), free_texts=("stop",))
def main(config: SampleConfig, _: object) -> None:
    """Sample or score. Only the result itself goes to standard output."""
    # Imported here, as torch is slow to import and --help does not need it.
    from data.vocabulary import Vocabulary
    from sampling.output import check_writable, open_output
    from sampling.prompt import as_text, read_prompt
    from sampling.score import score, sequences_to_score
    from sampling.stream import write_samples
    from training.checkpoint import load_checkpoint
    from training.device import prepare_for_sampling
    from training.run_folder import find_checkpoint

    given = read_prompt(config.prompt, config.prompt_file)
    if config.output:
        check_writable(config.output)
    file = find_checkpoint(config.checkpoint)
    checkpoint = load_checkpoint(file)
    vocabulary, lines = Vocabulary(checkpoint.vocabulary, checkpoint.is_bytes), checkpoint.training_lines is not None
    given = given if vocabulary.is_bytes else as_text(given, config.prompt_file)
    prompt, note = vocabulary.fitted(given, config.unknown)
    if (given or config.prompt_file) and not prompt:
        raise UserError("prompt: expected at least one character of the vocabulary, got none")
    context = checkpoint.model.context
    if config.stride is not None and (lines or config.stride > context):
        what = "null, as each line is read from its beginning" if lines else f"at most the context of {context}"
        raise UserError(f"stride: expected {what}, got {config.stride}")
    rows = context if config.score else config.count
    decoder, reason = prepare_for_sampling(checkpoint.decoder(), config.runtime, rows)
    status = f"{file}, trained for {checkpoint.step} steps; on {reason}" + (f"\nprompt: {note}" if note else "")
    if config.score:
        characters, sequences = sequences_to_score(prompt, vocabulary, context, lines)
        print_status(status)
        with open_output(config.output) as out:
            scored = score(characters, sequences, decoder, vocabulary, config.stride)
            out.write(scored.as_json() if config.output and config.output.endswith(".jsonl") else scored.as_text())
    else:
        request = make_request(config, prompt, decoder, vocabulary, checkpoint)
        print_status(status)
        samples = write_samples(request, config.output)
        if lines:
            print_status(f"{sum(map(request.is_known, samples))} of {len(samples)} were in the training set")
        sequences = [request.ids[-context:] + sample.ids for sample in samples]
    if config.inspect:
        from board.sampled_text import write_maps  # imports TensorBoard

        unpacked = checkpoint.decoder().to(decoder.embedding.weight.device)  # whose weights can be read
        folder = write_maps(sequences, unpacked, vocabulary, file)
        print_status(f"attention maps: {folder}; to see them: tensorboard --logdir {folder.parent}")


def make_request(
    config: SampleConfig, prompt: str, decoder: "Decoder", vocabulary: "Vocabulary", checkpoint: "Checkpoint"
) -> "SamplingRequest":
    """The request that `config` describes. Raises UserError if the prompt or a stop does not fit the checkpoint."""
    from data.lines import line_beginning
    from sampling.completion import positions_left, seed_batches
    from sampling.filters import SamplingParams
    from sampling.stream import SamplingRequest

    batch = len(seed_batches(decoder, config.count, config.seed)[0])
    if config.length is None and batch < config.count:
        raise UserError(f"count: expected at most {batch} with length=null, as none ever ends, got {config.count}")
    length, stops = config.length, [vocabulary.encode(stop, "stop").tolist() for stop in config.stop]
    training_lines = None
    if checkpoint.training_lines is None:
        ids = vocabulary.encode(prompt or vocabulary.opening, "prompt").tolist()
    else:
        training_lines = checkpoint.training_lines.numpy()
        prompt = prompt.rstrip("\n")
        ids = line_beginning(prompt, vocabulary, decoder.config.context, "prompt")
        stops.append(ids[:1])
        length = min(length or sys.maxsize, positions_left(decoder, ids))
    params = SamplingParams(temperature=config.temperature, top_k=config.top_k, top_p=config.top_p, min_p=config.min_p)
    count, seed = config.count, config.seed
    return SamplingRequest(decoder, vocabulary, prompt, ids, length, stops, params, count, seed, training_lines)


def print_status(text: str) -> None:
    """Print to standard error, escaping control characters that the checkpoint may hold."""
    print(visible(text), file=sys.stderr)


if __name__ == "__main__":
    main()
