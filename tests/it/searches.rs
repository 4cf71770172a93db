//! Searches among thousands: whatever is found, few or many, near or far, the pages show all of it, once and in order.

use std::time::Duration;

use tollreeve::{app::reviews::write_down_uses, pb::tollreeve::v1 as pb};

use crate::{
    harness::{
        both,
        client::Client,
        random::Random,
        server::Env,
        world::{World, unique},
    },
    people::as_user,
};

both!(pages_of_a_search_show_all_that_is_found_in_order_be_it_few_or_many);

/// How many there are: so many that who has a late name is far from the first page by name.
const PEOPLE: usize = 4000;

/// Somebody, by a number: the last third by name has the same first letter, few have a rare word, half are in the team.
fn somebody(n: usize, team: &str, random: &mut Random) -> pb::NewUser {
    let letter = char::from(b'a' + u8::try_from(random.next() % 20).expect("a letter"));
    let name = if n.is_multiple_of(3) { format!("Zed {letter}{n}") } else { format!("{letter}ob the {n}") };
    let rare = if n.is_multiple_of(1000) { " Rara" } else { "" };
    let user = pb::User {
        email: format!("{letter}{n}@many.example"),
        display_name: format!("{name}{rare}"),
        teams: if n.is_multiple_of(2) { vec![team.to_owned()] } else { Vec::new() },
        ..pb::User::default()
    };
    let role = if n.is_multiple_of(5) { "roles/member" } else { "roles/reader" };
    pb::NewUser { user: Some(user), role: role.into(), ..pb::NewUser::default() }
}

async fn pages(client: &Client, tenant: &str, filter: &str, order: &str, size: i32) -> Vec<pb::User> {
    let mut found = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListUsersRequest {
            parent: tenant.into(),
            page_size: size,
            page_token,
            filter: filter.into(),
            order_by: order.into(),
        };
        let page = client.identity().list_users(request).await.expect("a page").into_inner();
        assert!(page.users.len() == usize::try_from(size).expect("a size") || page.next_page_token.is_empty());
        found.extend(page.users);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return found;
        }
    }
}

/// Whether a word of theirs begins so.
fn has(user: &pb::User, word: &str) -> bool {
    let text = format!("{} {}", user.display_name, user.email).to_lowercase();
    text.split(|c: char| !c.is_alphanumeric()).any(|part| part.starts_with(word))
}

/// A filter, and whether somebody is found by it.
type Filter<'a> = (String, Box<dyn Fn(&pb::User) -> bool + 'a>);

fn filters(team: &str) -> Vec<Filter<'_>> {
    let in_team = move |user: &pb::User| user.teams.iter().any(|one| one == team);
    let reads = |user: &pb::User| user.roles.iter().any(|role| role == "roles/reader");
    let suspended = |user: &pb::User| user.state() == pb::UserState::Suspended;
    vec![
        ("many".into(), Box::new(|user| has(user, "many"))),
        ("zed".into(), Box::new(|user| has(user, "zed"))),
        ("rara".into(), Box::new(|user| has(user, "rara"))),
        ("nowhere".into(), Box::new(|user| has(user, "nowhere"))),
        ("zed rara".into(), Box::new(|user| has(user, "zed") && has(user, "rara"))),
        ("role = roles/reader".into(), Box::new(reads)),
        (format!("team = {team} zed"), Box::new(move |user| in_team(user) && has(user, "zed"))),
        (
            format!("team = {team} role = roles/reader rara"),
            Box::new(move |user| in_team(user) && reads(user) && has(user, "rara")),
        ),
        ("many state = SUSPENDED".into(), Box::new(move |user| has(user, "many") && suspended(user))),
    ]
}

async fn pages_of_a_search_show_all_that_is_found_in_order_be_it_few_or_many(env: &mut Env) {
    let world = World::new(env).await;
    let mut random = Random::fresh("searches");
    for first in (0..PEOPLE).step_by(1000) {
        let users = (first..first + 1000).map(|n| somebody(n, &world.team, &mut random)).collect();
        let parent = world.tenant.clone();
        let request = pb::BatchCreateUsersRequest { parent, users, request_id: unique("batch"), validate_only: false };
        env.operator.identity().batch_create_users(request).await.expect("created");
    }
    let everybody = pages(&env.operator, &world.tenant, "", "", 1000).await;
    assert!(everybody.len() > PEOPLE && everybody.iter().all(|user| user.join_time == user.create_time));
    let names = everybody.iter().skip(100).step_by(97).map(|user| user.name.clone()).collect();
    let request = pb::BatchSuspendUsersRequest { parent: world.tenant.clone(), names, ..Default::default() };
    env.operator.identity().batch_suspend_users(request).await.expect("suspended");
    for user in everybody.iter().filter(|user| user.state() == pb::UserState::Active).skip(50).step_by(1500) {
        let request = pb::GetUserRequest { name: user.name.clone() };
        env.clock.advance(Duration::from_secs(1));
        // Be it allowed or not: they have called.
        let _ = as_user(env, &user.name).identity().get_user(request).await;
    }
    write_down_uses(env.server.app()).await.expect("written");

    let everybody = pages(&env.operator, &world.tenant, "", "", 1000).await;
    let used = everybody.iter().filter(|user| user.last_use_time.is_some()).count();
    assert!(used >= 3, "{used}");
    for (filter, finds) in filters(&world.team) {
        for order in ["", "create_time desc", "display_name", "email desc", "state", "last_use_time desc"] {
            let mut wanted: Vec<&pb::User> = everybody.iter().filter(|user| finds(user)).collect();
            wanted.sort_by_key(|user| {
                let key = match order.split(' ').next() {
                    Some("display_name") => user.display_name.clone(),
                    Some("email") => user.email.to_lowercase(),
                    Some("state") => user.state().as_str_name().to_owned(),
                    _ => String::new(),
                };
                let used = user.last_use_time.filter(|_| order.starts_with("last"));
                (key, used.map_or((0, 0), |time| (time.seconds, time.nanos)), user.name.clone())
            });
            if order.ends_with(" desc") {
                wanted.reverse();
            }
            let wanted: Vec<&str> = wanted.iter().map(|user| user.name.as_str()).collect();
            for size in [333, 1000] {
                let found = pages(&env.operator, &world.tenant, &filter, order, size).await;
                let found: Vec<&str> = found.iter().map(|user| user.name.as_str()).collect();
                assert!(found == wanted, "{filter} by {order:?}, {size}: {} of {}", found.len(), wanted.len());
            }
        }
    }
}
