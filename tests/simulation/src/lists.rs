//! Lists of the API, page by page.

use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use crate::gateway::Answer;
use crate::run::Simulation;

const TRIES: usize = 20;

impl Simulation {
    /// The pages that `ask` returns to `query` and to the cursors that follow, each asked for until it is answered; `None` if
    /// no answer came. `list` is its name in what is broken.
    pub(crate) async fn pages_of(
        &self,
        list: &str,
        query: &str,
        ask: impl AsyncFn(String) -> Option<Answer>,
    ) -> Option<Vec<Value>> {
        let (mut pages, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.page_of(list, format!("{query}{cursor}"), &ask).await?;
            let next = page["next"].as_str().map(|next| format!("&cursor={next}"));
            pages.push(page);
            match next {
                Some(next) => cursor = next,
                None => return Some(pages),
            }
        }
    }

    async fn page_of(&self, list: &str, query: String, ask: &impl AsyncFn(String) -> Option<Answer>) -> Option<Value> {
        for _ in 0..TRIES {
            match ask(query.clone()).await {
                Some(Answer { status: 200, body, .. }) => return Some(body),
                // A cursor expires after an hour, by whatever clock reads it.
                Some(Answer { status: 422, .. }) if query.contains("&cursor=") && self.has_clock_steps() => {
                    return None;
                }
                Some(answer) if !self.phones.is_to_repeat(&answer) => {
                    self.journal.violation(format!("{list}: its reader was answered {}", answer.status));
                    return None;
                }
                _ => sleep(Duration::from_secs(5)).await,
            }
        }
        None
    }
}
