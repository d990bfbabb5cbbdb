"""TensorBoard with the Attention tab where it is not installed, or the tab as a page.

python -m attention_tab --logdir runs
python -m attention_tab export runs/NAME/DATE page.html
"""

import sys

from absl import app
from tensorboard import default, main_lib, program

from attention_tab import export
from attention_tab.plugin import Loader


def main() -> None:
    if sys.argv[1:2] == ["export"]:
        sys.exit(export.main(sys.argv[2:]))
    main_lib.global_init()
    plugins = default.get_plugins()
    if Loader not in plugins:
        plugins.append(Loader)
    board = program.TensorBoard(plugins=plugins)
    app.run(board.main, flags_parser=board.configure)


if __name__ == "__main__":
    main()
