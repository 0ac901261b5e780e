"""Keys and panes whose answers come by questions: what they ask of the session, and where the answers are drawn."""

from backpropdbg.questions import Answer, Nodes, Question, Story, Timeline
from backpropdbg.situation import Situation
from backpropdbg.tui.actions import Actions
from backpropdbg.tui.asked import AskedPane
from backpropdbg.tui.graph import Graph
from backpropdbg.tui.keys import shown
from backpropdbg.tui.ledger import Ledger
from backpropdbg.tui.matrices import Matrices
from backpropdbg.tui.nodes import NodesPane
from backpropdbg.tui.overlays import KINDS, Overlay
from backpropdbg.tui.parameters import ParametersPane
from backpropdbg.tui.plane import Plane, following
from backpropdbg.tui.player import words_of
from backpropdbg.tui.select import along
from backpropdbg.tui.stops import StopsPane
from backpropdbg.tui.tiles import Tiles
from backpropdbg.tui.timeline import TimelinePane
from backpropdbg.wire import session as wire


class Looks(Actions):
    """What is asked beside the situation."""

    def ask_all(self, situation: Situation) -> None:
        """Ask anew for all that is shown of a stop."""
        self.ask_timeline()
        self.ask_story()
        self.ask_nodes()
        for pane in self.asking_panes():
            pane.follow(situation)

    def ask(self, question: Question) -> None:
        """Ask about the stop, where there is one."""
        if self.situation is not None and not self.ended:
            self.awaited += 1
            self.session.ask(question)

    def asking_panes(self) -> list[AskedPane]:
        """Return the panes that show answers, also those that are away, and what lies over the screen."""
        return [pane for screen in self.screen_stack for pane in screen.query(AskedPane)]

    def show_answer(self, answer: Answer) -> None:
        """Draw an answer."""
        match answer:
            case Timeline() as timeline:
                self.base.query_one(TimelinePane).show(timeline)
            case Story() as story:
                self.base.query_one(Ledger).tell(story)
            case Nodes() as nodes:
                self.base.query_one(NodesPane).tell(nodes)
                self.base.query_one(Tiles).want("graph", self.graph_lines)
            case _:
                for pane in self.asking_panes():
                    if isinstance(answer, pane.answer):
                        pane.tell(answer)

    def ask_story(self) -> None:
        """Ask for the story, where one is shown."""
        question = self.base.query_one(Ledger).question
        if question is not None:
            self.ask(question)

    def ask_nodes(self, node: int = 0) -> None:
        """Ask for the nodes around this stop, or from one of them on, where they are shown."""
        if self.nodes and self.situation is not None and not self.ended:
            self.base.query_one(NodesPane).look(node)

    def action_graph(self) -> None:
        """List the autograd nodes in the graph pane; or show the calls of modules again."""
        if self.free():
            self.send(f"graph {'modules' if self.nodes else 'nodes'}")

    def show_view(self, result: wire.Result) -> bool:
        """Show nodes or modules in the graph pane. Returns False for the result of something else."""
        words = words_of(result.command)
        if not result.ok or words[:1] != ["graph"] or words[1:2] not in (["nodes"], ["modules"]):
            return False
        self.nodes = words[1] == "nodes"
        self.base.query_one(Graph).set_class(self.nodes, "hidden")
        self.base.query_one(NodesPane).set_class(not self.nodes, "hidden")
        self.fit(self.size.width, self.size.height)
        self.call_after_refresh(self.ask_nodes, int(words[2]) if len(words) > 2 else 0)
        back = f"{shown('graph')} shows the calls of modules again"
        self.hint(f"the autograd nodes, in the order of backward: {back}" if self.nodes else "")
        return "graph" in self.seen().panes

    def on_nodes_pane_picked(self, event: NodesPane.Picked) -> None:
        """Run to the use that was clicked, if its partial is still to come."""
        if self.situation is not None:
            number = event.use.label.removeprefix("A")
            at = next((row.position for row in self.situation.ledger if row.term == f"A{number}"), None)
            self.visit(f"backward {self.situation.focus}#{number}", event.use.state == "pending", at)

    def action_story(self) -> None:
        """Show what each use adds to the selected element, in place of norms and cosines; or those again."""
        self.base.query_one(Ledger).toggle()
        self.ask_story()

    def action_scope(self) -> None:
        """Tell the story of the element, its row, or the whole parameter."""
        self.base.query_one(Ledger).widen()
        self.ask_story()

    def action_open(self, name: str) -> None:
        """Give the keyboard to a pane, or take it away again; show it over the screen where it is no pane."""
        if self.body.open:
            self.hint("these are the commands of a breakpoint: `end` ends them")
        elif self.situation is not None and not self.is_pane(name):
            if self.free():
                self.push_screen(Overlay(KINDS[name](self.ask, self.situation.focus)))
        elif self.situation is not None:
            pane = self.base.query_one(f"#{name}", AskedPane)
            if self.focused is not None and pane in self.focused.ancestors:
                self.screen.set_focus(None)
            else:
                self.current = name
                self.arrange()
                pane.enter()

    def on_overlay_pinned(self, event: Overlay.Pinned) -> None:
        """Make a pane of what was over the screen."""
        self.hint(self.carry_out("show", event.pane))

    def on_parameters_pane_taken(self, event: ParametersPane.Taken) -> None:
        """Focus a parameter; the keyboard is free again."""
        if isinstance(self.screen, Overlay):
            self.pop_screen()
        else:
            self.screen.set_focus(None)
        if event.name and self.free():
            self.send(f"focus {event.name}")

    def on_stops_pane_wanted(self, event: StopsPane.Wanted) -> None:
        """Carry out what was chosen among the stops."""
        self.carry_out_line(event.line)
        self.ask_stops()

    def ask_stops(self) -> None:
        """Ask anew what may stop the program: a command may have changed it."""
        for pane in self.asking_panes():
            if isinstance(pane, StopsPane) and pane.is_on_screen:
                pane.want()

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
