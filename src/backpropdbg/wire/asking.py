"""What a face asks about a stop, and is told in messages of their own: cells, output, and whatever is a question."""

from collections.abc import Callable

from msgspec import Raw

from backpropdbg.questions import Question
from backpropdbg.wire.jobs import Jobs
from backpropdbg.wire.link import Answer
from backpropdbg.wire.messages import (
    RUNNING,
    AnswerBody,
    AskArguments,
    CellsBody,
    PrintedArguments,
    PrintedBody,
    Response,
    TensorArguments,
    convert,
)
from backpropdbg.wire.session import Answered, Cells, Message, Printed


class Asking:
    """The asking half of a session; the other half says how a request is sent, and who hears of the answer."""

    _jobs: Jobs

    def _request(self, command: str, arguments: object, answer: Answer = lambda response: None) -> bool:
        raise NotImplementedError

    def _emit(self, message: Message) -> None:
        raise NotImplementedError

    def window(self, name: str, rows: int, cols: int, row0: int = 0, col0: int = 0, pool: bool = True) -> None:
        """Ask for at most rows x cols cells of a matrix of this stop; Cells follows."""

        def answer(response: Response) -> None:
            if response.message != RUNNING:  # else nobody looks at that stop any more
                self._emit(Cells(name, convert(response.body, CellsBody).window if response.success else None))

        def send() -> None:
            if not self._request("backpropdbg/tensor", TensorArguments(name, rows, cols, row0, col0, pool), answer):
                self._emit(Cells(name, None))

        self._jobs.post(send)

    def printed(self, position: int, most: int = 20_000) -> None:
        """Ask for the last characters that the program had printed at a position; Printed follows."""
        asked = PrintedArguments(position, most)
        self._inquire("printed", asked, lambda body: Printed(position, convert(body, PrintedBody).pieces))

    def ask(self, question: Question) -> None:
        """Ask something about this stop; Answered follows."""
        self._inquire("ask", AskArguments(question), lambda body: Answered(question, convert(body, AnswerBody).answer))

    def _inquire(self, what: str, asked: object, message: Callable[[Raw], Message]) -> None:
        def answer(response: Response) -> None:
            if response.success:
                self._emit(message(response.body))

        self._jobs.post(lambda: self._request(f"backpropdbg/{what}", asked, answer))
