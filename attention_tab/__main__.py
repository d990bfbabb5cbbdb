"""TensorBoard with the Attention tab where it is not installed: `python -m attention_tab --logdir runs`."""

from absl import app
from tensorboard import default, main_lib, program

from attention_tab.plugin import Loader


def main() -> None:
    main_lib.global_init()
    plugins = default.get_plugins()
    if Loader not in plugins:
        plugins.append(Loader)
    board = program.TensorBoard(plugins=plugins)
    app.run(board.main, flags_parser=board.configure)


if __name__ == "__main__":
    main()
