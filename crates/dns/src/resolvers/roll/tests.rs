use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Something,
    Failure,
    Refusal,
    Silence,
}

impl Word for Said {
    fn is_silent(&self) -> bool {
        *self == Self::Silence
    }

    fn is_refused(&self) -> bool {
        *self == Self::Refusal
    }

    fn is_failure(&self) -> bool {
        *self == Self::Failure
    }
}

/// What happens, by the place of the resolver.
#[derive(Clone, Copy, Debug)]
enum Then {
    Says(usize, Said),
    IsMissed(usize),
    Lives(usize),
    IsDead(usize),
}

fn server(place: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(place).unwrap()], 53))
}

/// After these events, with so many resolvers in the list.
fn after(events: &[Then], listed: usize) -> Roll<Said> {
    let mut roll = Roll::new(listed.min(2));
    let mut spare = 0..listed;
    let mut fill = |roll: &mut Roll<Said>| {
        while roll.wants_another()
            && let Some(place) = spare.next()
        {
            assert_eq!(roll.ask(server(place)), place);
        }
    };
    fill(&mut roll);
    for event in events {
        match *event {
            Then::Says(place, said) => {
                roll.hear(place, said);
            }
            Then::IsMissed(place) => {
                roll.miss(place);
            }
            Then::Lives(place) => roll.feel(place, true),
            Then::IsDead(place) => roll.feel(place, false),
        }
        fill(&mut roll);
    }
    roll
}

#[test]
fn another_is_asked_as_soon_as_one_is_silent_or_fails() {
    use Said::{Failure, Refusal, Silence, Something};
    use Then::{IsDead, IsMissed, Lives, Says};
    // The events, how many of eight are asked then, whose word counts, and the quorum.
    let cases: &[(&[Then], usize, &[usize], usize)] = &[
        (&[], 2, &[], 1),
        (&[Says(0, Something), Says(1, Something)], 2, &[0, 1], 2),
        (&[Says(0, Something), IsMissed(1)], 3, &[0], 1),
        (&[Says(0, Something), IsMissed(1), Lives(1)], 3, &[0], 2),
        (&[Says(0, Something), IsMissed(1), Says(2, Something)], 3, &[0, 2], 2),
        (&[Says(0, Something), Says(1, Failure)], 3, &[0], 1),
        (&[Says(0, Something), Says(1, Failure), Lives(1)], 3, &[0, 1], 2),
        (&[Says(0, Something), Says(1, Failure), Lives(1), Says(2, Something)], 3, &[0, 2], 2),
        (&[Says(1, Refusal)], 3, &[], 1),
        (&[Says(1, Silence)], 3, &[], 1),
        // It is slow, and its word comes all the same.
        (&[IsMissed(0), IsDead(0), Says(0, Something)], 3, &[0], 1),
        // The zone fails: not everybody is asked.
        (&[Says(0, Failure), Says(1, Failure), Says(2, Failure), Says(3, Failure)], 4, &[], 1),
        (&[Says(0, Failure), Says(1, Failure), Lives(0), Lives(1)], 4, &[0, 1], 2),
        // The dead are no bound.
        (&[IsMissed(0), IsMissed(1), IsDead(0), IsDead(1), IsMissed(2), IsMissed(3)], 6, &[], 1),
    ];
    for (events, asked, words, quorum) in cases {
        let heard = after(events, 8).heard();
        let told: Vec<SocketAddr> = heard.words.iter().map(|(server, _)| *server).collect();
        let expected: Vec<SocketAddr> = words.iter().copied().map(server).collect();
        assert_eq!((heard.asked.len(), told), (*asked, expected), "{events:?}");
        assert_eq!(heard.quorum(), *quorum, "{events:?}");
    }
}

#[test]
fn it_ends_where_enough_is_heard_or_nothing_more_can_be() {
    use Said::{Failure, Refusal, Silence, Something};
    use Then::{IsDead, IsMissed, Lives, Says};
    let cases: &[(&[Then], bool, bool)] = &[
        (&[], false, false),
        (&[Says(0, Something)], false, false),
        (&[Says(0, Something), IsMissed(1)], false, false),
        (&[Says(0, Something), IsMissed(1), Lives(1)], false, true),
        (&[Says(0, Something), IsMissed(1), Lives(1), Says(1, Silence)], true, false),
        (&[Says(0, Something), Says(1, Something)], true, false),
        (&[Says(0, Something), Says(1, Failure)], false, false),
        (&[Says(0, Something), Says(1, Failure), IsDead(1)], true, false),
        (&[Says(0, Refusal), Says(1, Refusal)], true, false),
    ];
    for (events, is_settled, is_waiting) in cases {
        let roll = after(events, 2);
        assert_eq!(
            (roll.is_settled(), roll.is_waiting()),
            (*is_settled, *is_waiting),
            "{events:?}"
        );
    }
}

#[test]
fn only_one_that_is_silent_or_fails_is_asked_whether_it_is_alive_and_once() {
    let mut roll = Roll::new(2);
    let (one, other) = (roll.ask(server(0)), roll.ask(server(1)));
    assert_eq!(roll.hear(one, Said::Something), None);
    assert_eq!(roll.miss(one), None);
    let suspect = roll.miss(other);
    assert_eq!(suspect, Some(Suspect { place: other, server: server(1) }));
    assert_eq!(roll.hear(other, Said::Failure), None);
}
