"""What the keys and the command line do."""

from textual.containers import VerticalScroll
from textual.scroll_view import ScrollView
from textual.widgets import Input

from backpropdbg.questions import Question, TimelineOf
from backpropdbg.tui.arranged import Arranged
from backpropdbg.tui.command import CommandLine
from backpropdbg.tui.face import NOTHING_RUNS
from backpropdbg.tui.graph import Graph
from backpropdbg.tui.help import TABS, Help
from backpropdbg.tui.keys import shown
from backpropdbg.tui.ledger import Ledger, ledger_table
from backpropdbg.tui.matrices import Matrices
from backpropdbg.tui.matrix import MatrixPane
from backpropdbg.tui.nodes import NodesPane
from backpropdbg.tui.output import OutputPane
from backpropdbg.tui.paint import number_text
from backpropdbg.tui.results import Results
from backpropdbg.tui.search import LARGEST, answer, question
from backpropdbg.tui.select import neighbour, next_parameter
from backpropdbg.tui.timeline import TimelinePane
from backpropdbg.wire import session as wire

EVER = 10**12


class Actions(Arranged):
    """The keys; the app adds what is drawn."""

    def action_move(self, command: str) -> None:
        """Send a step, unless the program runs."""
        self.take_over()
        if self.free():
            self.waiting = True
            self.send(command)

    def action_interrupt(self) -> None:
        """Stop a running program, or a long walk."""
        if self.running and not self.ended:
            self.session.interrupt()
        elif self.recorded:
            self.hint(f"{NOTHING_RUNS}: {shown('quit')} quits")
        else:
            self.hint(f"the program is not running: {shown('quit')} quits")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave `:`, `b` and tab alone where they are text, or close the help."""
        typed = isinstance(self.focused, Input) or self.screen is not self.base
        return not (typed and action in ("type", "parameter", "timeline"))

    def action_type(self, text: str) -> None:
        """Open the command line with `text` typed."""
        self.base.query_one(CommandLine).open(text)

    def action_leave(self) -> None:
        """Leave the command line, or clear the results."""
        if self.focused is not None:
            self.screen.set_focus(None)
        else:
            self.base.query_one(Results).show("")

    def on_command_line_typed(self, event: CommandLine.Typed) -> None:
        """Send what was typed."""
        line = event.text.strip().removeprefix(":").strip()
        self.base.query_one(CommandLine).remember(line)
        word = line.split()[0] if line else ""
        if word in ("interrupt", "i") and self.running:
            self.action_interrupt()
        elif word in ("quit", "q", "restart", "screenshot", "theme", "ascii", "layout") or (word and not self.busy):
            self.take_over()
            self.send(line)
            if self.body.open:  # the next line is one of the breakpoint's
                self.action_type("")
        elif self.walking:
            self.free()
        elif self.running and not self.ended and word == "detach":
            self.go_away()
        elif self.running and not self.ended:
            self.session.feed(event.text + "\n")
            self.hint("typed into the program's standard input")
        elif word:
            self.free()

    def on_command_line_unclear(self, event: CommandLine.Unclear) -> None:
        """List the words that what was typed may go on with."""
        self.hint("  ".join(event.words))

    def action_parameter(self, every: bool) -> None:
        """Focus the next parameter: of the same module, or of all."""
        if self.situation is None or not self.free():
            return
        name = next_parameter(self.situation.parameters, self.situation.focus, every)
        if name is None:
            on = f"this module has no other parameter: {shown('any-parameter')} goes on"
            self.hint("no other parameter here" if every else on)
        else:
            self.send(f"focus {name}")

    def action_arrow(self, key: str) -> None:
        """Select the neighbouring element."""
        if self.situation is None or not self.free():
            return
        element = neighbour(self.situation.shape, self.situation.element, key, self.situation.axes)
        if element is not None:
            self.send(f"element {','.join(map(str, element))}")

    def on_matrix_pane_picked(self, event: MatrixPane.Picked) -> None:
        """Select the element that was clicked."""
        if self.free():
            self.send(f"element {','.join(map(str, event.element))}")

    def on_ledger_picked(self, event: Ledger.Picked) -> None:
        """Run to the use whose row was clicked, if its partial is still to come; else look at it again."""
        if self.situation is not None:
            number = event.row.detail.rpartition("#")[2]
            place = f"backward {self.situation.focus}#{number}"
            self.visit(place, event.row.state == "pending", event.row.position)

    def on_graph_picked(self, event: Graph.Picked) -> None:
        """Run to the call that was clicked, forward or backward, if it is still to come; else look at it again."""
        nodes = [] if self.situation is None else self.situation.graph
        node = next((node for node in nodes if node.label == event.call and "#" in event.call), None)
        if node is not None:
            forward = event.way == "forward"
            state, position = (
                (node.forward, node.forward_position) if forward else (node.backward, node.backward_position)
            )
            self.visit(f"{event.way} {node.label}", state == "pending", position)

    def visit(self, place: str, ahead: bool, position: int | None) -> None:
        """Run to a place that was clicked, or look at it again where it has been. position: of its event."""
        if ahead:
            self.carry_out_line(f"until {place}")
        elif position is None:
            back = f"{shown('step-back')} and {shown('next-back')} go back"
            self.hint(f"{place} has been: {back}; {shown('restart')} begins again")
        elif self.situation is not None and position == self.situation.position:
            self.hint(f"{place}: you are here")
        else:
            self.carry_out_line(f"goto {position}")

    def action_tab(self, number: int) -> None:
        """Show matrices, source, output or timeline where there is no room for all."""
        if self.zoomed:
            self.hint("")
        self.tab, self.zoomed, self.current = number, "", TABS[number - 1]
        self.arrange()
        self.call_after_refresh(self.base.query_one(Matrices).ask)
        self.call_after_refresh(self.ask_timeline)

    def action_timeline(self) -> None:
        """Give the keyboard to the timeline and show it; where it has the keyboard already, hide it again."""
        pane = self.base.query_one(TimelinePane)
        hide = self.focused is pane
        self.screen.set_focus(None if hide else pane)
        if self.compact:
            self.action_tab(1 if hide else TABS.index("timeline") + 1)
        else:
            self.timeline = not hide
            self.arrange()
            self.call_after_refresh(self.ask_timeline)

    def ask(self, question: Question) -> None:
        """Ask about the stop."""
        raise NotImplementedError

    def ask_timeline(self) -> None:
        """Ask for as many iterations as the timeline has room for."""
        pane = self.base.query_one(TimelinePane)
        if pane.display and pane.size.area and self.situation is not None and not self.ended:
            self.ask(TimelineOf(1, EVER, pane.columns))

    def on_timeline_pane_sized(self) -> None:
        """Fetch the iterations that fit now."""
        if self.screen_stack:
            self.ask_timeline()

    def on_timeline_pane_chosen(self, event: TimelinePane.Chosen) -> None:
        """Go to an iteration."""
        if not event.iteration:
            self.hint("the timeline ends here")
        else:
            self.action_move(f"goto iteration {event.iteration}")

    def action_search(self, what: str) -> None:
        """Ask for the largest |element|, the smallest or the first non-finite one of the first matrix with a value."""
        panes = [pane for pane in self.base.query_one(Matrices).panes if pane.display]
        matrix = next((p.matrix for p in panes if p.matrix is not None and p.matrix.state == "value"), None)
        if matrix is None:
            self.hint("no matrix has a value here")
        elif self.free():
            self.searched = (question(what, matrix.name), what, matrix)
            self.send(self.searched[0])

    def show_found(self, result: wire.Result) -> bool:
        """Select the element that a search found, then say so. Returns False for the result of something else."""
        if result.ok and result.command == self.found[0]:
            self.hint(self.found[1])
            self.found = ("", "")
            return True
        if self.searched is None or result.command != self.searched[0]:
            return False
        (_, what, matrix), self.searched = self.searched, None
        found = answer(what, result.text, matrix.shape) if result.ok else None
        if not result.ok:
            self.base.query_one(Results).show(result.text, "error")
        elif found is None:
            self.hint(f"{matrix.title}: no {what.removeprefix('first ')} element")
        elif found.zeros:
            self.hint(f"{matrix.title}: all elements are zero")
        else:
            text, name = ",".join(map(str, found.element)), "|element|" if what == LARGEST else "element"
            value = number_text(found.value, signed=True)
            self.found = (f"element {text}", f"{matrix.title}: the {what} {name} is [{text}], {value}")
            self.session.command(self.found[0])
        return True

    def action_copy(self) -> None:
        """Hand the rows of the ledger to the terminal's clipboard."""
        if self.situation is not None:
            table = ledger_table(self.situation)
            self.copy_to_clipboard(table)
            self.hint(f"copied {table.count(chr(10)) - 1} rows, as tab-separated text; some terminals forbid it")

    def action_more(self) -> None:
        """Show the next matrices, where there are more than have room."""
        more = self.base.query_one(Matrices).more()
        self.hint("" if more else "all matrices of this stop are on the screen")

    def action_zoom(self) -> None:
        """Show true cells around the selected element, or all of a large tensor, pooled."""
        matrices = self.base.query_one(Matrices)
        if not matrices.zoom():
            self.hint(f"every cell here is a true one already; {shown('zoom')} is for tensors that don't fit")
        else:
            self.hint(f"true cells around the selected element: {shown('zoom')} shows all" if matrices.zoomed else "")

    def action_page(self, way: int) -> None:
        """Scroll the results where there are some, else the nodes where chosen, else the ledger, else the output."""
        results, ledger = self.base.query_one(Results), self.base.query_one(Ledger)
        pane: ScrollView | VerticalScroll = self.base.query_one(OutputPane)
        if results.display and results.max_scroll_y > 0:
            pane = results
        elif self.nodes and self.current == "graph":
            pane = self.base.query_one(NodesPane)
        elif ledger.max_scroll_y > 0:
            pane = ledger
        pane.scroll_relative(y=way * max(1, pane.size.height - 1), animate=False)

    def action_restart(self) -> None:
        """Start the program again."""
        self.take_over()
        self.do_restart()

    def action_help(self) -> None:
        """Show all keys, or close that again."""
        if self.screen is self.base:
            self.push_screen(Help(self.commands()))
        else:
            self.pop_screen()

    def action_picture(self) -> None:
        """Save the screen."""
        result = self.screenshot_result("screenshot", ())
        self.base.query_one(Results).show(result.text, "hint" if result.ok else "error")

    def action_theme(self) -> None:
        """Take the next theme."""
        self.hint(self.theme_result("")[0])

    def action_ascii(self) -> None:
        """Draw with ASCII signs only, or with all again."""
        self.hint(self.ascii_result(""))

    def action_pause(self) -> None:
        """Pause the player, or let it go on."""
        if self.player is None or self.player.stopped:
            return
        if not self.player.paused:
            self.player.hold()
            self.hint(f"paused: {shown('pause')} goes on, a step key takes over")
        elif self.left_at is None or (self.situation is not None and self.situation.position == self.left_at):
            self.hint("")
            self.go_on()
        elif self.free():
            self.returning = self.waiting = True
            self.send(f"goto {self.left_at}")

    async def action_quit(self) -> None:
        """End the program and the app."""
        self.shut(self.exit_code)
