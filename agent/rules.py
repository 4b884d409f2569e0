"""The patterns of the grammar, each for a whole clause, with what it asks for. The first that fits counts. Pure."""

from __future__ import annotations

import re

from agent.phrases import (
    NAMED,
    SIZE,
    Build,
    create,
    expire,
    limits,
    logs,
    modules_of,
    paused,
    plain,
    quota,
    schedule,
    several,
    with_word,
)

_N = (
    r"(?:(?:my|the)(?: container| box)? |container )?"
    rf"(?P<name>(?:the|that|this) (?:container|box|machine)|that one|this one|it|that|this|{NAMED})(?: container)?"
)
_NAMES = rf"(?:(?:my|the) )?(?:containers? )?(?P<names>{NAMED}(?:(?:, and |, ?| and ){NAMED})+)"
_ART = r"(?:(?:a|an|me|my|another|one) )*"
_BOX = r"(?:container|box|machine)"
_AT = r"[0-9]{1,2}(?::[0-9]{2})?(?: ?[ap]m)?"
_DAYS = r"(?: (?:on )?(?P<days>weekdays|weekends|every day|daily|each day))?"
_ZONE = r"(?: (?:in |\()?(?P<zone>[a-z_]+/[a-z_/+-]+|utc)\)?(?: time)?)?"
_WHEN = _DAYS + _ZONE
_OF = r"(?: (?:of|for|from|in|to|on))?"
_KIND = r"(?P<kind>[a-z][a-z0-9-]*(?:(?: and |, ?| )[a-z][a-z0-9-]*)*)"
_NEW = rf"(?!(?:with|called|named|new|a|an|me|my|the|container|box|machine)\b){NAMED}"
_WITH = r"(?:[, ]+(?:with|having|and) (?P<with>.+))?"
_START = r"(?:start|boot|run|wake|turn on|bring up|power on)"
_STOP = r"(?:stop|halt|shut down|turn off|power off)"
_DESTROY = r"(?:destroy|delete|drop|remove)"
_SHOW = r"(?:(?:show|list|get|give|read)(?: me)?(?: the| all)* )?"
_WORSE = (
    r"(?: (?:is|does|did|not|so|down|unhealthy|broken|degraded|stuck|running|held|failing|failed|slow|start|work"
    r"|working|stopped|dead))*"
)

_CREATE: tuple[tuple[str, Build], ...] = (
    (rf"(?:create|new|set up|spin up) (?P<name>{_NEW}){_WITH}", create),
    (
        rf"(?:create|make|new|set up|spin up|add) {_ART}(?:(?P<stopped>stopped) )?(?:new )?"
        rf"(?:{_BOX} (?:called |named )?|called |named )(?P<name>{_NEW}){_WITH}",
        create,
    ),
    (rf"(?:create|make|new|add) {_ART}(?:new )?{_KIND} {_BOX} (?:called|named) (?P<name>{NAMED})", create),
)
_TIMES: tuple[tuple[str, Build], ...] = (
    (
        rf"{_START} {_N} at (?P<start>{_AT})(?: and |, )stop (?:it|{NAMED}) at (?P<stop>{_AT}){_WHEN}",
        schedule,
    ),
    (
        rf"(?:schedule|run|keep) {_N}(?: running)?(?: from| between)? (?P<start>{_AT}) (?:to|until|till|and|-) "
        rf"(?P<stop>{_AT}){_WHEN}",
        schedule,
    ),
    (rf"{_START} {_N} at (?P<start>{_AT}){_WHEN}", schedule),
    (rf"{_STOP} {_N} at (?P<stop>{_AT}){_WHEN}", schedule),
    (rf"unschedule {_N}", plain("schedule_container")),
    (rf"(?:remove|drop|clear|cancel) the schedule (?:of|from|for) {_N}", plain("schedule_container")),
    (rf"(?:expire|remove|destroy|delete) {_N} (?P<when>(?:in|on|at) .+)", expire),
    (rf"keep {_N} (?P<when>(?:until|till|for) .+)", expire),
    (rf"keep {_N} forever", plain("expire_container")),
)
_POWER: tuple[tuple[str, Build], ...] = (
    (rf"{_START} {_NAMES}(?: up)?", several("start_container")),
    (rf"{_STOP} {_NAMES}", several("stop_container")),
    (rf"(?:restart|reboot) {_NAMES}", several("restart_container")),
    (rf"{_DESTROY} {_NAMES}", several("destroy_container")),
    (rf"{_START} {_N}(?: up)?", plain("start_container")),
    (rf"{_STOP} {_N}", plain("stop_container")),
    (rf"(?:restart|reboot) {_N}", plain("restart_container")),
)
_CHANGES: tuple[tuple[str, Build], ...] = (
    (
        rf"(?:remove|drop|take) (?:the )?(?:modules? )?(?P<modules>[a-z0-9, -]+?) (?:from|out of) {_N}",
        modules_of("remove_modules"),
    ),
    (
        rf"(?:add|install|put) (?:the )?(?:modules? )?(?P<modules>[a-z0-9, -]+?) (?:to|into|in|on) {_N}",
        modules_of("add_modules"),
    ),
    (rf"{_DESTROY} {_N}", plain("destroy_container")),
    (rf"(?:restore|bring back|recover|undelete) {_N}", plain("restore_container")),
    (rf"bring {_N} back", plain("restore_container")),
    (rf"approve {_N}", plain("approve_held")),
    (
        rf"roll (?:the )?data of {_N} back(?: to (?:the )?(?:last|latest|newest) snapshot)?",
        plain("rollback_data"),
    ),
    (
        rf"roll (?:the )?data of {_N} back to (?:snapshot )?(?P<snapshot>[A-Za-z0-9:._-]{{8,}})",
        with_word("rollback_data", "snapshot"),
    ),
    (r"(?:undo|revert)(?: (?:that|it|this|the last change|my last change))?", plain("undo_change")),
    (rf"(?:undo|revert) (?:the |my )?(?:last )?changes? (?:of|to|in|on) {_N}", plain("undo_change")),
    (rf"give {_N} (?P<size>{SIZE})", quota),
    (rf"(?:grow|resize|enlarge|set) {_N} to (?P<size>{SIZE})", quota),
    (rf"give {_N} (?P<limits>(?:a )?[0-9].+)", limits),
    (
        r"(?:set|change|raise|lower|increase) (?:the )?(?P<of>quota|workspace|disk|storage|memory|ram)(?: quota)? of "
        rf"{_N} to (?P<limits>{SIZE})",
        limits,
    ),
    (rf"pause {_N}", paused(True)),
    (rf"keep (?:your )?hands off {_N}", paused(True)),
    (rf"(?:unpause|resume) {_N}", paused(False)),
)
_LOOKS: tuple[tuple[str, Build], ...] = (
    (r"(?:help(?: me)?|what can (?:you do|i say)|\?|commands|how does this work)", plain("help")),
    (rf"{_SHOW}(?:(?:my|the) )?containers", plain("list_containers")),
    (
        r"(?:list|ls|status|what do i have|(?:show|list)(?: me)? (?:all|everything)|what(?: is|'s) running)",
        plain("list_containers"),
    ),
    (
        rf"{_SHOW}(?:which |what )?modules(?: (?:are there|do you have|can i have|can i use|exist))?",
        plain("list_modules"),
    ),
    (r"how(?: is|'s) the (?:host|appliance|server)(?: doing)?", plain("host_health")),
    (rf"(?:{_SHOW}(?:host |the )?health|is everything (?:ok|okay|fine|all right))", plain("host_health")),
    (
        r"how much (?:storage|space|disk)(?: space)?(?: do i use| am i using| have i used| is used| do i have)?",
        plain("storage_use"),
    ),
    (rf"{_SHOW}(?:my )?(?:storage|quota|disk)(?: use)?", plain("storage_use")),
    (rf"{_SHOW}(?:the )?(?:last )?(?P<lines>[0-9]{{1,4}}) (?:log )?lines?(?: of)?(?: the)?(?: logs?)?{_OF} {_N}", logs),
    (rf"{_SHOW}(?:the )?(?:last )?(?:logs?|log lines){_OF} {_N}", logs),
    (
        rf"(?:{_SHOW}history|what changed|what has changed|who changed)(?:{_OF} {_N})?(?: lately| recently)?",
        plain("show_history"),
    ),
    (
        rf"(?:show|describe|status(?: of)?|info(?: on)?|details of|how is|how's|tell me about)(?: me)? {_N}(?: doing)?",
        plain("describe_container"),
    ),
    (rf"(?:why|what)(?: is|'s| does| did)? (?:wrong with )?{_N}{_WORSE}", plain("why_unhealthy")),
    (rf"is {_N} (?:running|up|ok|okay|ready|healthy)", plain("describe_container")),
)

_ORDER = (*_LOOKS[:11], *_CREATE, *_TIMES, *_POWER, *_CHANGES, *_LOOKS[11:])
RULES = tuple((re.compile(pattern, re.IGNORECASE), build) for pattern, build in _ORDER)
"""What looks at no container in particular comes first, so that `show modules` is not about a container `modules`."""
