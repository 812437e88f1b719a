//! Login, logout and what is kept in between.

use drydock_api::rest::Instance;
use drydock_domain::access::Role;

use crate::documents::{page, whoami};
use crate::fake::{Fake, Prepared, TOKEN};

async fn fake() -> Fake {
    let fake = Fake::start().await;
    fake.json("GET /whoami", &whoami("alice", Role::Operator)).json("GET /instances?limit=1000", &page::<Instance>(vec![]));
    fake
}

#[tokio::test]
async fn a_token_from_standard_input_is_kept_for_the_owner_alone_and_never_printed() {
    let fake = fake().await;
    let mut prepared = Prepared::new().input(&format!("{TOKEN}\n"));
    let ran = prepared.run(&format!("login --server {} --token -", fake.url)).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, format!("Logged in to {} as alice (operator).\n", fake.url).as_str()), "{ran}");
    assert!(!ran.to_string().contains(TOKEN));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(prepared.config()).expect("kept").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let who = prepared.run("whoami").await;
    assert_eq!(who.out, format!("alice (operator) on {}, drydockd 0.1.0\n", fake.url));
    assert!(prepared.run("whoami -o json").await.out.contains("\"role\": \"operator\""));
    assert_eq!(prepared.run("instance list").await.code, 0);
    assert_eq!(prepared.run("logout").await.code, 0);
    assert!(!std::fs::read_to_string(prepared.config()).expect("kept").contains("ddt_"));
    assert_eq!(prepared.run("instance list").await.code, 3);
    assert_eq!(prepared.run("logout").await.out, "Not logged in.\n");
}

#[tokio::test]
async fn a_token_that_does_not_work_is_not_kept() {
    let fake = fake().await;
    let mut prepared = Prepared::new();
    let ran = prepared.run(&format!("login --server {} --token ddt_wrong", fake.url)).await;
    assert_eq!(ran.code, 3, "{ran}");
    assert!(!prepared.config().exists());
    assert_eq!(prepared.run(&format!("login --server {}", fake.url)).await.code, 2);
}

#[tokio::test]
async fn another_server_does_not_get_the_kept_token() {
    let (mine, other) = (fake().await, fake().await);
    let mut prepared = Prepared::new();
    assert_eq!(prepared.run(&format!("login --server {} --token {TOKEN}", mine.url)).await.code, 0);
    let ran = prepared.run(&format!("--server {} instance list", other.url)).await;
    assert_eq!(ran.code, 3, "{ran}");
    assert!(other.seen().is_empty());
    // The same server by another spelling is the same server.
    assert_eq!(prepared.run(&format!("--server {}/ instance list", mine.url)).await.code, 0);
}

#[cfg(unix)]
#[tokio::test]
async fn an_open_configuration_file_is_warned_about() {
    use std::os::unix::fs::PermissionsExt;
    let fake = fake().await;
    let mut prepared = Prepared::new();
    assert_eq!(prepared.run(&format!("login --server {} --token {TOKEN}", fake.url)).await.code, 0);
    std::fs::set_permissions(prepared.config(), std::fs::Permissions::from_mode(0o644)).expect("changed");
    let ran = prepared.run("instance list").await;
    assert!(ran.code == 0 && ran.err.contains("others may read it"), "{ran}");
    std::fs::write(prepared.config(), "sever = \"x\"\n").expect("written");
    let ran = prepared.run("instance list").await;
    assert!(ran.code == 2 && ran.err.contains("sever"), "{ran}");
}
