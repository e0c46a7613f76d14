"""Accounts at embedding services as one configuration names them: their budgets, and what was spent of them. Streams
that use the same account share both.
"""

from __future__ import annotations

from collections.abc import Callable

from headwater.clock import Clock
from headwater.embedding.budget import Budget
from headwater.embedding.sharing.borrower import Borrower
from headwater.embedding.sharing.port import Shares
from headwater.embedding.spending import Spending
from headwater.embedding.spending_watch import SpendingWatch
from headwater.log.port import Ledger
from headwater.model.shares import account_id
from headwater.observability.signals import Emit
from headwater.settings.accounts import AccountSettings
from headwater.settings.embed import BUILT_IN, EmbedSettings
from headwater.settings.schema import Settings


class Accounts:
    """The accounts of one process. Budgets and spendings are made when a stream first needs them."""

    def __init__(self, settings: Settings) -> None:
        self._accounts = settings.accounts
        self._models = {stream: it.recipe.embed for stream, it in settings.streams.items()}
        self._budgets: dict[tuple[str, str, str], Budget] = {}
        self._spendings: dict[str, Spending] = {}

    def settings(self, stream: str) -> AccountSettings:
        """Return what the configuration says of the stream's account."""
        name = self._models[stream].account
        return self._accounts[name] if name else AccountSettings()

    def budget(self, stream: str) -> Budget:
        """Return the budget of the stream's account; one of its own for a model that runs here."""
        names, account = _names(self._models[stream]), self.settings(stream)
        if names not in self._budgets:
            self._budgets[names] = Budget(account.requests, account.tokens, account.per_s)
        return self._budgets[names]

    def spending(self, stream: str) -> Spending | None:
        """Return what the stream's account spends, where it has a price."""
        name, account = self._models[stream].account, self.settings(stream)
        if name is None or account.prices is None:
            return None
        if name not in self._spendings:
            budget = account.budget
            limits = (budget.soft, budget.hard, budget.per) if budget else (None, None, "month")
            price, batch_price = account.prices
            self._spendings[name] = Spending(price, batch_price, *limits)
        return self._spendings[name]

    def sharing(self, stream: str) -> list[str]:
        """Return the other streams of the stream's account, where it has a name."""
        name = self._models[stream].account
        return [it for it, model in self._models.items() if name and model.account == name and it != stream]

    def watches(self, ledger: Callable[[str], Ledger], clock: Clock, emit: Emit) -> list[SpendingWatch]:
        """Return what tells the spendings that have limits what all workers spent. `ledger` makes a stream's ledger."""
        watches = []
        for name, spending in self._spendings.items():
            if any(spending.limits.values()):
                ledgers = {stream: ledger(stream) for stream, it in self._models.items() if it.account == name}
                watches.append(SpendingWatch(spending, ledgers, clock, emit))
        return watches

    def borrowers(self, shares: Shares, member: str, clock: Clock) -> list[Borrower]:
        """Return what keeps the budgets that are in use at this worker's shares."""
        remote = dict.fromkeys(_names(it) for it in self._models.values() if it.model not in BUILT_IN)
        return [
            Borrower(shares, account_id(*names), member, self._budgets[names], clock)
            for names in remote
            if names in self._budgets
        ]


def _names(embed: EmbedSettings) -> tuple[str, str, str]:
    """Name an account: by its name, or else by the provider, its address and the key."""
    if embed.account:
        return "", embed.account, ""
    return embed.model.partition("/")[0], embed.url or "", embed.key.get_secret_value() if embed.key else ""
