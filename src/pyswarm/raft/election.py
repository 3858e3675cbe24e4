"""Leader election: timeouts, pre-votes and votes (dissertation, 3.4, 3.6.1, 9.6).

A member that misses its leader first asks, under a term it does not enter, whether a majority would
vote for it (PreVote). Only then it raises its term. So a member that was cut off returns with its
old term and disturbs nobody. A vote is a promise: it leaves when it is on disk, and the candidate's
own vote, too, counts only from then on.
"""

from __future__ import annotations

from pyswarm.raft.leadership import become_leader
from pyswarm.raft.message import TimeoutNow, VoteReply, VoteRequest
from pyswarm.raft.role import Role
from pyswarm.raft.state import State


def can_campaign(s: State) -> bool:
    """True if this member may be elected.

    That is so until its removal (or demotion) is known to be committed: it may be the only one with
    that entry, and then nobody else could be elected (4.2.2, end). It does not vote for itself
    then.
    """
    fit = s.may_campaign and not s.removed and s.restore is None
    return fit and s.log.may_be_voter(s.id)


def on_timeout(s: State) -> None:
    """No leader was heard for an election timeout.

    A member without a vote asks all the same, and nothing but an answer comes of it: if it was
    removed while it was cut off, this is how it learns.
    """
    if can_campaign(s):
        campaign(s)
    else:
        s.restart_election_timer()
        s.set_leader(None)
        if s.role is Role.FOLLOWER and not s.removed:
            request_votes(s, pre=True)


def campaign(s: State) -> None:
    """Begins an election, with the question first if so configured."""
    if s.config.pre_vote and s.configuration.voters != (s.id,):
        become_pre_candidate(s)
    else:
        become_candidate(s)


def become_pre_candidate(s: State) -> None:
    """Asks whether the next term could be won. Neither term nor vote change."""
    s.change_role(Role.PRE_CANDIDATE)
    s.set_leader(None)
    s.restart_election_timer(retry=True)
    request_votes(s, pre=True)
    count_vote(s, s.id, True)


def become_candidate(s: State, *, transfer: bool = False) -> None:
    """Raises the term, votes for itself, asks the others.

    Its own vote is counted when it is on disk, see :func:`own_vote_stored`.
    """
    s.change_role(Role.CANDIDATE)
    s.set_leader(None)
    s.set_term(s.term + 1)
    s.vote = s.id
    s.elections += 1
    s.restart_election_timer(retry=True)
    request_votes(s, transfer=transfer)


def request_votes(s: State, *, pre: bool = False, transfer: bool = False) -> None:
    """Sends the request to all other voters.

    The question goes to the learners as well, whose answers do not count: if this member was
    removed while it was cut off, they may be the only ones left who can tell it.
    """
    term = s.term + 1 if pre else s.term
    say = s.send if pre else s.promise
    for member in s.configuration.ids if pre else s.configuration.voters:
        if member != s.id:
            last = (s.log.last_index, s.log.last_term)
            say(VoteRequest(member, s.id, term, s.epoch, *last, pre, transfer))


def own_vote_stored(s: State, term: int) -> None:
    """The vote for itself in ``term`` is on disk."""
    if s.role is Role.CANDIDATE and term == s.term:
        count_vote(s, s.id, True)


def count_vote(s: State, voter: int, granted: bool) -> None:
    """Notes an answer (the first of each voter) and ends the election if it is decided.

    A candidate that is no voter (any more) is elected by the others alone.
    """
    configuration = s.configuration
    s.votes.setdefault(voter, granted)
    yes = sum(s.votes.get(id) is True for id in configuration.voters)
    no = sum(s.votes.get(id) is False for id in configuration.voters)
    if yes >= configuration.quorum:
        if s.role is Role.PRE_CANDIDATE:
            become_candidate(s)
        else:
            become_leader(s)
    elif no > len(configuration.voters) - configuration.quorum:
        s.become_follower(s.term, None, retry=True)


def on_vote_request(s: State, m: VoteRequest) -> None:
    """Grants the vote if it is still free and the candidate's log is as good as this one.

    A pre-vote promises nothing: it may be granted to many, and leaves at once. (Whether the request
    is listened to at all was decided in ``dispatch``: not while a leader is heard.)
    """
    up_to_date = s.log.is_up_to_date(m.last_index, m.last_term)
    if m.pre:
        granted = up_to_date and m.term > s.term
        s.send(VoteReply(m.from_, s.id, m.term if granted else s.term, s.epoch, granted, True))
        return
    assert m.term == s.term
    free = s.vote == m.from_ or (s.vote is None and s.leader is None)
    if free and up_to_date:
        s.vote = m.from_
        s.restart_election_timer()
        s.promise(VoteReply(m.from_, s.id, s.term, s.epoch, True))
    else:
        s.send(VoteReply(m.from_, s.id, s.term, s.epoch, False))


def on_vote_reply(s: State, m: VoteReply) -> None:
    """Counts an answer to this election, not to an earlier or another one."""
    wanted = Role.PRE_CANDIDATE if m.pre else Role.CANDIDATE
    asked = s.term + 1 if m.pre and m.granted else s.term
    if s.role is wanted and m.term == asked:
        count_vote(s, m.from_, m.granted)


def on_timeout_now(s: State, m: TimeoutNow) -> None:
    """The leader hands over: campaigns at once, without asking first (3.10)."""
    if s.role is Role.FOLLOWER and m.term == s.term and can_campaign(s):
        become_candidate(s, transfer=True)
