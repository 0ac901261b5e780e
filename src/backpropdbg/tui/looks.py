"""Keys and panes whose answers come by questions: what they ask of the session, and where the answers are drawn."""

from backpropdbg.questions import Answer, Optimizer, OptimizerOf, Parameters, Stops, StopsOf, Story, Timeline
from backpropdbg.situation import Situation
from backpropdbg.tui.actions import Actions
from backpropdbg.tui.keys import shown
from backpropdbg.tui.ledger import Ledger
from backpropdbg.tui.matrices import Matrices
from backpropdbg.tui.overlays import OptimizerScreen, StopsScreen
from backpropdbg.tui.parameters import ParametersScreen
from backpropdbg.tui.plane import Plane, following
from backpropdbg.tui.select import along
from backpropdbg.tui.timeline import TimelinePane


class Looks(Actions):
    """What is asked beside the situation."""

    def ask_all(self, situation: Situation) -> None:
        """Ask anew for all that is shown of a stop."""
        self.ask_timeline()
        self.ask_story()
        for over in self.screen_stack:
            if isinstance(over, (StopsScreen, OptimizerScreen)):
                over.want()

    def show_answer(self, answer: Answer) -> None:
        """Draw an answer."""
        match answer:
            case Timeline() as timeline:
                self.base.query_one(TimelinePane).show(timeline)
            case Story() as story:
                self.base.query_one(Ledger).tell(story)
            case Parameters() as told:
                for over in self.screen_stack:
                    if isinstance(over, ParametersScreen):
                        over.tell(told)
            case Stops() as stops:
                for over in self.screen_stack:
                    if isinstance(over, StopsScreen):
                        over.tell(stops)
            case Optimizer() as optimizer:
                for over in self.screen_stack:
                    if isinstance(over, OptimizerScreen):
                        over.tell(optimizer)

    def ask_story(self) -> None:
        """Ask for the story, where one is shown."""
        question = self.base.query_one(Ledger).question
        if question is not None and not self.ended:
            self.session.ask(question)

    def action_story(self) -> None:
        """Show what each use adds to the selected element, in place of norms and cosines; or those again."""
        self.base.query_one(Ledger).toggle()
        self.ask_story()

    def action_scope(self) -> None:
        """Tell the story of the element, its row, or the whole parameter."""
        self.base.query_one(Ledger).widen()
        self.ask_story()

    def action_parameters(self) -> None:
        """Show all parameters, and focus the one that is chosen."""

        def focus(name: str | None) -> None:
            if name and self.free():
                self.send(f"focus {name}")

        if self.situation is not None and self.free():
            self.push_screen(ParametersScreen(self.session.ask, self.situation.focus), focus)

    def action_stops(self) -> None:
        """Show all that may stop the program, and all that is displayed."""
        if self.body.open:
            self.hint("these are the commands of a breakpoint: `end` ends them")
        elif self.situation is not None and self.free():
            self.push_screen(StopsScreen(lambda: self.session.ask(StopsOf()), self.carry_out_line))

    def action_optimizer(self) -> None:
        """Show what the optimizer has for the focused parameter."""
        if self.situation is not None and self.free():
            self.push_screen(OptimizerScreen(lambda: self.session.ask(OptimizerOf())))

    def action_axes(self) -> None:
        """Show the next two axes of a tensor with more than two, then all of it, flattened."""
        if self.situation is None or not self.free():
            return
        if len(self.situation.shape) < 3:
            self.hint(f"{self.situation.focus} has no more than two axes")
            return
        axes = following(self.situation.shape, self.situation.axes)
        self.send(f"axes {','.join(map(str, axes))}" if axes else "axes flat")

    def action_slice(self, axis: int, step: int) -> None:
        """Go to the next index of an axis that does not show: of the first one, or the last."""
        if self.situation is None or not self.free():
            return
        now = self.situation
        others = Plane(now.shape, now.axes, now.element).others
        if not others:
            self.hint(f"nothing is hidden: {shown('axes')} shows two axes of a tensor with more than two")
            return
        element = along(now.shape, now.element, others[axis], step)
        if element is not None:
            self.send(f"element {','.join(map(str, element))}")

    def action_histogram(self) -> None:
        """Show how the values of the first matrix that has a value are spread."""
        panes = [pane for pane in self.base.query_one(Matrices).panes if pane.display]
        matrix = next((p.matrix for p in panes if p.matrix is not None and p.matrix.state == "value"), None)
        if matrix is None:
            self.hint("no matrix has a value here")
        elif self.free():
            self.send(f"histogram {matrix.name}")
