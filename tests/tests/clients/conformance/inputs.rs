//! Tools and a prompt of the suite that ask the client before they answer (SEP-2322): the result says
//! what is needed, the client calls again with it, and the server keeps nothing between the two.

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, GetPromptRequestParams, GetPromptResponse, GetPromptResult,
    InputRequiredResult, InputResponses,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::{Value, json};

use super::fixture::{read, text, whole};

pub(super) const PROMPT: &str = "test_input_required_result_prompt";

pub(super) const TOOLS: &[&str] = &[
    "test_input_required_result_capabilities",
    "test_input_required_result_elicitation",
    "test_input_required_result_list_roots",
    "test_input_required_result_multi_round",
    "test_input_required_result_multiple_inputs",
    "test_input_required_result_request_state",
    "test_input_required_result_sampling",
    "test_input_required_result_tampered_state",
    "test_streaming_elicitation",
];

/// What the client has to send back unchanged. Nobody can make up another that is accepted.
const STATES: &[&str] = &["state-0:5f0c7c1e9d", "state-1:b41f6aa203"];

fn ask_person(message: &str, field: &str, kind: &str) -> Value {
    let schema = json!({ "type": "object", "properties": { field: { "type": kind } }, "required": [field] });
    json!({ "method": "elicitation/create", "params": { "message": message, "requestedSchema": schema } })
}

fn ask_model(prompt: &str) -> Value {
    let message = json!({ "role": "user", "content": { "type": "text", "text": prompt } });
    json!({ "method": "sampling/createMessage", "params": { "messages": [message], "maxTokens": 100 } })
}

fn ask_roots() -> Value {
    json!({ "method": "roots/list" })
}

fn needed(requests: Value, state: Option<&str>) -> InputRequiredResult {
    InputRequiredResult::new(Some(read(requests)), state.map(str::to_owned))
}

/// The client's answers, as far as they are objects: anything else is asked for again.
struct Given<'a>(Option<&'a InputResponses>);

impl Given<'_> {
    fn get(&self, name: &str) -> Option<&Value> {
        self.0?.get(name).filter(|answer| answer.is_object())
    }
}

/// Which round the client is in by the state it sends back; a made-up one is refused.
fn round(state: Option<&str>) -> Result<usize, ErrorData> {
    let Some(state) = state else { return Ok(0) };
    let known = STATES.iter().position(|known| *known == state);
    let tampered = || ErrorData::invalid_params("the state is not one this server gave out", None);
    known.map(|known| known + 1).ok_or_else(tampered)
}

pub(super) fn call(
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let given = Given(request.input_responses.as_ref());
    let round = round(request.request_state.as_deref())?;
    let name = ask_person("What is your name?", "name", "string");
    let everything = json!({
        "user_name": name, "greeting": ask_model("Say hello."), "client_roots": ask_roots(),
    });
    Ok(match request.name.trim_start_matches("test_input_required_result_") {
        "elicitation" | "test_streaming_elicitation" => match given.get("user_name") {
            Some(answer) => text(format!("Hello, {}!", answer["content"]["name"].as_str().unwrap_or("you"))),
            None => needed(json!({ "user_name": name }), None).into(),
        },
        "sampling" => match given.get("capital_question") {
            Some(answer) => text(format!("The model says {}", answer["content"])),
            None => needed(json!({ "capital_question": ask_model("What is the capital of France?") }), None)
                .into(),
        },
        "list_roots" => match given.get("client_roots") {
            Some(answer) => text(format!("Roots: {}", answer["roots"])),
            None => needed(json!({ "client_roots": ask_roots() }), None).into(),
        },
        "request_state" | "tampered_state" if round > 0 => text("Confirmed: state-ok"),
        "request_state" | "tampered_state" => {
            needed(json!({ "confirm": ask_person("Go on?", "ok", "boolean") }), Some(STATES[0])).into()
        }
        "multiple_inputs" => {
            let is_complete =
                ["user_name", "greeting", "client_roots"].iter().all(|it| given.get(it).is_some());
            if is_complete && round > 0 {
                text("All inputs are here")
            } else {
                needed(everything, Some(STATES[0])).into()
            }
        }
        "multi_round" => match round {
            0 => needed(json!({ "step1": name }), Some(STATES[0])).into(),
            1 => needed(json!({ "step2": ask_person("Which colour?", "color", "string") }), Some(STATES[1]))
                .into(),
            _ => text("Both rounds are done"),
        },
        _ if request.input_responses.is_some() => text("Only what was declared was asked for"),
        _ => {
            let declared = context.meta.client_capabilities().unwrap_or_default();
            let declared = serde_json::to_value(declared).unwrap_or_default();
            let mut requests = everything;
            if let Some(requests) = requests.as_object_mut() {
                for (input, capability) in
                    [("user_name", "elicitation"), ("greeting", "sampling"), ("client_roots", "roots")]
                {
                    if declared[capability].is_null() {
                        requests.remove(input);
                    }
                }
            }
            needed(requests, None).into()
        }
    })
}

pub(super) fn prompt(request: &GetPromptRequestParams) -> GetPromptResponse {
    match Given(request.input_responses.as_ref()).get("user_context") {
        Some(answer) => {
            let said = format!("In the context of {}", answer["content"]["context"]);
            let message = json!({ "role": "user", "content": { "type": "text", "text": said } });
            read::<GetPromptResult>(whole(json!({ "messages": [message] }))).into()
        }
        None => {
            needed(json!({ "user_context": ask_person("Which context?", "context", "string") }), None).into()
        }
    }
}
