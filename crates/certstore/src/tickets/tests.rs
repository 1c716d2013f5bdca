use super::{
    sealed::{Issued, Session},
    *,
};

const PERIOD: u64 = 12 * 3_600;
const HOUR: u64 = 3_600;
/// The start of a period.
const START: u64 = 1_000 * PERIOD;

fn secret(number: u64) -> TicketSecret {
    let starts = number * PERIOD;
    TicketSecret::new(starts, starts + PERIOD, &[u8::try_from(number % 251).unwrap(); 32]).unwrap()
}

fn fleet(numbers: impl IntoIterator<Item = u64>) -> Secrets {
    let feed = numbers.into_iter().map(|number| Arc::new(secret(number))).collect();
    Secrets { feed, local: Vec::new() }
}

const POLICY: [u8; 32] = [1; 32];

fn binding<'a>(policy: &'a [u8; 32], name: &'a str) -> Binding<'a> {
    Binding { policy, name: name.as_bytes() }
}

fn a_example() -> Binding<'static> {
    binding(&POLICY, "a.example")
}

fn issue(secrets: &Secrets, now: u64, began: u64) -> Option<Issued> {
    secrets.issue(now, a_example(), Session { began, plain: b"a session".to_vec() })
}

#[test]
fn a_ticket_opens_at_another_edge_while_its_secret_is_taken() {
    let issuing = fleet([1_000]);
    let issued = issue(&issuing, START + HOUR, START + HOUR).unwrap();
    let table = [
        ("at the same time", START + HOUR, vec![999, 1_000, 1_001], true),
        ("where the clock is behind by a period", START - PERIOD, vec![1_000], true),
        ("where the clock is behind by more", START - PERIOD - 1, vec![1_000], false),
        ("in the next period", START + 2 * PERIOD - 1, vec![1_000, 1_001], true),
        ("in the one after it, though the secret is there", START + 2 * PERIOD, vec![1_000], false),
        ("where the secret is not", START + HOUR, vec![999, 1_001], false),
        ("without any secret", START + HOUR, vec![], false),
    ];
    for (when, now, numbers, is_taken) in table {
        let opened = fleet(numbers).open(now, a_example(), &issued.ticket);
        assert_eq!(opened.map(|own| own.plain), is_taken.then(|| b"a session".to_vec()), "{when}");
    }
}

#[test]
fn a_ticket_opens_for_its_policy_and_name_alone() {
    let secrets = fleet([1_000]);
    let issued = issue(&secrets, START, START).unwrap();
    let table = [
        (POLICY, "a.example", true),
        ([2; 32], "a.example", false),
        (POLICY, "b.example", false),
        (POLICY, "*.example", false),
        (POLICY, "", false),
    ];
    for (policy, name, is_taken) in table {
        let opened = secrets.open(START, binding(&policy, name), &issued.ticket);
        assert_eq!(opened.is_some(), is_taken, "{name}");
    }
}

#[test]
fn a_ticket_is_never_promised_for_longer_than_it_is_taken() {
    let secrets = fleet([1_000, 1_001]);
    let end_of_day = |began: u64| began + MAX_SESSION;
    let table = [
        // (now, began, taken until)
        (START, START, START + 2 * PERIOD),
        (START + HOUR, START + HOUR, START + 2 * PERIOD),
        (START + PERIOD - 1, START + PERIOD - 1, START + 2 * PERIOD),
        (START + PERIOD, START + PERIOD, START + 3 * PERIOD),
        // Resumed again and again, a session gets no older than a day.
        (START + PERIOD, START, end_of_day(START)),
        (START + 2 * PERIOD - 1, START + HOUR, end_of_day(START + HOUR)),
    ];
    for (now, began, expected) in table {
        let issued = issue(&secrets, now, began).unwrap();
        assert_eq!(issued.taken_until, expected, "{now} {began}");
        let open = |now| secrets.open(now, a_example(), &issued.ticket);
        assert_eq!(open(expected - 1).unwrap().began, began);
        assert!(open(expected).is_none(), "{now} {began}");
    }
}

#[test]
fn a_ticket_that_was_touched_anywhere_does_not_open() {
    let secrets = fleet([1_000]);
    let ticket = issue(&secrets, START, START).unwrap().ticket;
    assert!(secrets.open(START, a_example(), &ticket).is_some());
    for index in 0..ticket.len() {
        let mut touched = ticket.clone();
        touched[index] ^= 1;
        assert!(secrets.open(START, a_example(), &touched).is_none(), "byte {index}");
        assert!(secrets.open(START, a_example(), &ticket[..index]).is_none(), "{index} bytes");
    }
    let longer = [&ticket[..], &[0]].concat();
    assert!(secrets.open(START, a_example(), &longer).is_none());
}

#[test]
fn two_tickets_of_one_session_differ_and_show_nothing_of_it() {
    let secrets = fleet([1_000]);
    let (one, other) = (issue(&secrets, START, START), issue(&secrets, START, START));
    let (one, other) = (one.unwrap().ticket, other.unwrap().ticket);
    assert_eq!(one[..NAME_LEN], other[..NAME_LEN], "the name tells the period");
    assert_ne!(one[NAME_LEN..], other[NAME_LEN..]);
    assert!(!one.windows(9).any(|window| window == b"a session"));
}

#[test]
fn a_session_that_would_not_fit_into_a_client_hello_gets_no_ticket() {
    let secrets = fleet([1_000]);
    let with = |len| {
        let session = Session { began: START, plain: vec![0; len] };
        secrets.issue(START, a_example(), session).map(|issued| issued.ticket.len())
    };
    assert!(with(6 * 1024).unwrap() < 8 * 1024);
    assert!(with(6 * 1024 + 1).is_none());
}

#[test]
fn the_feeds_secret_is_used_where_there_is_one_for_the_time() {
    let secrets = TicketSecrets::new(START);
    let name = |now| secrets.secrets.load().current(now).map(|own| own.name);
    let local = name(START).unwrap();
    secrets.insert(secret(1_000));
    secrets.insert(secret(1_001));
    assert_eq!(name(START), Some(secret(1_000).name));
    assert_eq!(name(START + PERIOD - 1), Some(secret(1_000).name));
    assert_eq!(name(START + PERIOD), Some(secret(1_001).name));
    // Before the first of them, as after a jump of the clock, there is the own one or none.
    assert_eq!(name(START - 1), None);
    secrets.remove(1_000 * PERIOD);
    assert_eq!(name(START), Some(local));
    secrets.replace(vec![secret(1_000)]);
    assert_eq!((secrets.count(), name(START)), (1, Some(secret(1_000).name)));
}

#[test]
fn secrets_of_this_process_rotate_while_the_feed_has_none() {
    let secrets = TicketSecrets::new(START);
    let mut names = Vec::new();
    let mut now = START;
    while now < START + 5 * LOCAL_PERIOD {
        secrets.rotate(now);
        let held = secrets.secrets.load();
        let name = held.current(now).expect("there is always one").name;
        names.push(name);
        let ticket = issue(&held, now, now).unwrap().ticket;
        assert!(held.open(now + LOCAL_PERIOD - 1, a_example(), &ticket).is_some());
        assert!(held.local.len() <= 4, "{}", held.local.len());
        now += 300;
    }
    names.dedup();
    assert_eq!(names.len(), 6);
}

#[test]
fn secrets_are_dropped_two_periods_after_their_start() {
    let secrets = TicketSecrets::new(START);
    secrets.replace(vec![secret(1_000), secret(1_001)]);
    let table = [
        (START + 2 * PERIOD - 1, vec![], 2),
        (START + 2 * PERIOD, vec![START], 1),
        (START + 3 * PERIOD - 1, vec![], 1),
        (START + 3 * PERIOD, vec![START + PERIOD], 0),
        (START + 9 * PERIOD, vec![], 0),
    ];
    for (now, dropped, left) in table {
        assert_eq!(secrets.rotate(now), dropped, "{now}");
        assert_eq!(secrets.count(), left, "{now}");
        assert!(secrets.secrets.load().current(now).is_some(), "{now}");
    }
}

#[test]
fn a_flood_of_secrets_and_a_jumping_clock_are_bounded() {
    let secrets = TicketSecrets::new(START);
    for number in 1_000..2_000 {
        secrets.insert(secret(number));
    }
    assert_eq!(secrets.count(), MAX_SECRETS);
    assert_eq!(secrets.secrets.load().current(START).unwrap().name, secret(1_000).name);
    let secrets = TicketSecrets::new(START);
    for jump in 0..100 {
        secrets.rotate(START - jump * LOCAL_PERIOD);
        assert!(secrets.secrets.load().current(START - jump * LOCAL_PERIOD).is_some());
    }
    assert_eq!(secrets.secrets.load().local.len(), MAX_SECRETS);
}

#[test]
fn refuses_what_is_no_secret_and_shows_nothing_of_one() {
    let refused =
        |starts, ends, secret: &[u8]| TicketSecret::new(starts, ends, secret).unwrap_err();
    assert_eq!(refused(0, 1, &[0; 31]), TicketSecretError::Length(31));
    assert_eq!(refused(0, 1, &[0; 33]), TicketSecretError::Length(33));
    assert_eq!(refused(1, 1, &[0; 32]), TicketSecretError::Period);
    assert_eq!(refused(2, 1, &[0; 32]), TicketSecretError::Period);
    let shown = format!("{:?}", TicketSecret::new(5, 9, &[0xab; 32]).unwrap());
    assert_eq!(shown, "TicketSecret(5..9)");
}
