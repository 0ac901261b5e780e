"""Keys and panes whose answers come by questions: what they ask of the session, and where the answers are drawn."""

from backpropdbg.questions import Answer, Parameters, Story, Timeline
from backpropdbg.situation import Situation
from backpropdbg.tui.actions import Actions
from backpropdbg.tui.ledger import Ledger
from backpropdbg.tui.parameters import ParametersScreen
from backpropdbg.tui.timeline import TimelinePane


class Looks(Actions):
    """What is asked beside the situation."""

    def ask_all(self, situation: Situation) -> None:
        """Ask anew for all that is shown of a stop."""
        self.ask_timeline()
        self.ask_story()

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
