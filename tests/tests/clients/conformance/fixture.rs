//! The tools, resources and prompts that the conformance suite calls by name, behind a node's own front
//! and protocol settings. They are what the suite's documents ask for and mean nothing else.

use std::sync::{Arc, Mutex, PoisonError};

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, CompleteRequestParams,
    CompleteResult, GetPromptRequestParams, GetPromptResponse, GetPromptResult, Implementation,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
    PaginatedRequestParams, ProgressNotificationParam, ReadResourceRequestParams, ReadResourceResponse,
    ReadResourceResult, ServerCapabilities, ServerConfig, SubscriptionFilter, Tool,
};
use rmcp::service::{RequestContext, SubscriptionContext, SubscriptionSink};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::inputs;

/// A red dot.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8/5+hHgAHggJ/PchI7wAAAABJRU5ErkJggg==";
/// Silence.
const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA=";

#[derive(Debug, Clone, Default)]
pub(super) struct Fixture {
    listeners: Arc<Mutex<Vec<SubscriptionSink>>>,
}

/// What the protocol's types are read from: the tables below say on the wire what they mean.
pub(super) fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error} in {value}"))
}

/// A result that asks for nothing more says so (2026-07-28); on the older wires it is left out on the way.
pub(super) fn whole(mut value: Value) -> Value {
    value["resultType"] = "complete".into();
    value
}

/// Lists and what is read say how long they may be kept, and by whom (2026-07-28).
fn kept(value: Value) -> Value {
    let mut value = whole(value);
    value["ttlMs"] = 60_000.into();
    value["cacheScope"] = "public".into();
    value
}

pub(super) fn text(text: impl Into<String>) -> CallToolResponse {
    read::<CallToolResult>(whole(json!({ "content": [{ "type": "text", "text": text.into() }] }))).into()
}

/// Tools that answer the same each time.
fn fixed(name: &str) -> Option<Value> {
    let resource = json!({ "type": "resource", "resource": {
        "uri": "test://embedded-resource", "mimeType": "text/plain", "text": "This is an embedded resource content.",
    } });
    let image = json!({ "type": "image", "data": PNG, "mimeType": "image/png" });
    let words = |text: &str| json!({ "type": "text", "text": text });
    Some(match name {
        "test_simple_text" => json!({ "content": [words("This is a simple text response for testing.")] }),
        "test_image_content" => json!({ "content": [image] }),
        "test_audio_content" => {
            json!({ "content": [{ "type": "audio", "data": WAV, "mimeType": "audio/wav" }] })
        }
        "test_embedded_resource" => json!({ "content": [resource] }),
        "test_multiple_content_types" => json!({ "content": [
            words("Multiple content types test:"), image,
            { "type": "resource", "resource": {
                "uri": "test://mixed-content-resource", "mimeType": "application/json",
                "text": "{\"test\":\"data\",\"value\":123}" } },
        ] }),
        "test_error_handling" => {
            json!({ "content": [words("This tool intentionally returns an error for testing")], "isError": true })
        }
        "json_schema_2020_12_tool" | "test_custom_header" => json!({ "content": [words("Hello!")] }),
        _ => return None,
    })
}

/// Every tool's name and input schema.
fn tools() -> Vec<Tool> {
    let empty = json!({ "type": "object", "properties": {} });
    let header = json!({
        "type": "object", "required": ["value"],
        "properties": { "value": { "type": "string", "x-mcp-header": "Value" } },
    });
    let newest_schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": { "address": {
            "$anchor": "address", "type": "object",
            "properties": { "street": { "type": "string" }, "city": { "type": "string" } },
        } },
        "properties": { "name": { "type": "string" }, "address": { "$ref": "#/$defs/address" } },
        "allOf": [{ "anyOf": [{ "required": ["name"] }, { "required": ["address"] }] }],
        "if": { "required": ["address"] },
        "then": { "properties": { "address": { "required": ["street"] } } },
        "else": { "required": ["name"] },
        "additionalProperties": false,
    });
    let plain = [
        "test_simple_text",
        "test_image_content",
        "test_audio_content",
        "test_embedded_resource",
        "test_multiple_content_types",
        "test_error_handling",
        "test_tool_with_progress",
        "test_tool_with_logging",
        "test_logging_tool",
        "test_missing_capability",
        "test_trigger_tool_change",
        "test_trigger_prompt_change",
    ];
    let named = plain.iter().chain(inputs::TOOLS).map(|name| (*name, empty.clone()));
    let named = named.chain([("test_custom_header", header), ("json_schema_2020_12_tool", newest_schema)]);
    named
        .map(|(name, schema)| {
            read(json!({ "name": name, "description": "Of the suite.", "inputSchema": schema }))
        })
        .collect()
}

impl Fixture {
    fn listeners(&self) -> Vec<SubscriptionSink> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn work(
        &self,
        name: &str,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        match name {
            "test_tool_with_progress" => {
                for progress in [0.0, 50.0, 100.0] {
                    if let Some(token) = context.meta.get_progress_token() {
                        let told = ProgressNotificationParam::new(token, progress).with_total(100.0);
                        let _ = context.peer.notify_progress(told).await;
                    }
                }
            }
            "test_tool_with_logging" => {
                for said in ["started", "processing", "completed"] {
                    let told = json!({ "level": "info", "data": format!("Tool execution {said}") });
                    #[expect(deprecated, reason = "the older wire has it")]
                    let _ = context.peer.notify_logging_message(read(told)).await;
                }
            }
            "test_logging_tool" =>
            {
                #[expect(deprecated, reason = "the suite asks whether it is silent unless asked")]
                if let Some(level) = context.meta.log_level() {
                    let told = read(json!({ "level": level, "data": "as was asked for" }));
                    let _ = context.peer.notify_logging_message(told).await;
                }
            }
            "test_missing_capability" => {
                let declared = context.meta.client_capabilities().unwrap_or_default();
                if declared.sampling.is_none() {
                    let needed = read::<ClientCapabilities>(json!({ "sampling": {} }));
                    return Err(ErrorData::missing_required_client_capability(needed));
                }
            }
            "test_trigger_tool_change" => {
                for listener in self.listeners() {
                    let _ = listener.notify_tool_list_changed().await;
                }
            }
            "test_trigger_prompt_change" => {
                for listener in self.listeners() {
                    let _ = listener.notify_prompt_list_changed().await;
                }
            }
            _ => return Err(ErrorData::invalid_params(format!("there is no tool `{name}`"), None)),
        }
        Ok(text("done"))
    }
}

impl ServerHandler for Fixture {
    fn get_info(&self) -> ServerConfig {
        let capabilities: ServerCapabilities = read(json!({
            "tools": { "listChanged": true }, "prompts": { "listChanged": true }, "resources": {},
            "completions": {}, "logging": {},
        }));
        ServerConfig::new(capabilities).with_server_info(Implementation::new("fixture", "1"))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools().into_iter().find(|tool| tool.name == name)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(read(kept(json!({ "tools": tools() }))))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if let Some(result) = fixed(&request.name) {
            return Ok(read::<CallToolResult>(whole(result)).into());
        }
        if inputs::TOOLS.contains(&request.name.as_ref()) {
            return inputs::call(&request, &context);
        }
        self.work(&request.name, &context).await
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(read(kept(json!({ "resources": [
            { "uri": "test://static-text", "name": "Static text", "mimeType": "text/plain" },
            { "uri": "test://static-binary", "name": "Static binary", "mimeType": "image/png" },
        ] }))))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(read(kept(json!({ "resourceTemplates": [
            { "uriTemplate": "test://template/{id}/data", "name": "Template", "mimeType": "application/json" },
        ] }))))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let uri = request.uri.as_str();
        let id = uri.strip_prefix("test://template/").and_then(|rest| rest.strip_suffix("/data"));
        let content = match (uri, id) {
            ("test://static-text", _) => json!({
                "uri": uri, "mimeType": "text/plain", "text": "This is the content of the static text resource.",
            }),
            ("test://static-binary", _) => json!({ "uri": uri, "mimeType": "image/png", "blob": PNG }),
            (_, Some(id)) => {
                let data = json!({ "id": id, "templateTest": true, "data": format!("Data for ID: {id}") });
                json!({ "uri": uri, "mimeType": "application/json", "text": data.to_string() })
            }
            _ => {
                let message = format!("there is no resource `{uri}`");
                return Err(ErrorData::resource_not_found(message, Some(json!({ "uri": uri }))));
            }
        };
        Ok(read::<ReadResourceResult>(kept(json!({ "contents": [content] }))).into())
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let argument = |name: &str| json!({ "name": name, "description": "Of the suite.", "required": true });
        Ok(read(kept(json!({ "prompts": [
            { "name": "test_simple_prompt", "description": "No arguments." },
            { "name": "test_prompt_with_arguments", "description": "Two arguments.",
              "arguments": [argument("arg1"), argument("arg2")] },
            { "name": "test_prompt_with_embedded_resource", "description": "A resource.",
              "arguments": [argument("resourceUri")] },
            { "name": "test_prompt_with_image", "description": "An image." },
            { "name": inputs::PROMPT, "description": "Asks the client first." },
        ] }))))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        if request.name == inputs::PROMPT {
            return Ok(inputs::prompt(&request));
        }
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let argument = |name: &str| arguments[name].as_str().unwrap_or_default().to_owned();
        let said = |content: Value| json!({ "role": "user", "content": content });
        let words = |text: String| said(json!({ "type": "text", "text": text }));
        let messages = match request.name.as_str() {
            "test_simple_prompt" => json!([words("This is a simple prompt for testing.".to_owned())]),
            "test_prompt_with_arguments" => json!([words(format!(
                "Prompt with arguments: arg1='{}', arg2='{}'",
                argument("arg1"),
                argument("arg2")
            ))]),
            "test_prompt_with_embedded_resource" => json!([
                said(json!({ "type": "resource", "resource": {
                    "uri": argument("resourceUri"), "mimeType": "text/plain", "text": "Of the suite." } })),
                words("Please process the embedded resource above.".to_owned()),
            ]),
            "test_prompt_with_image" => json!([
                said(json!({ "type": "image", "data": PNG, "mimeType": "image/png" })),
                words("Please analyze the image above.".to_owned()),
            ]),
            name => return Err(ErrorData::invalid_params(format!("there is no prompt `{name}`"), None)),
        };
        Ok(read::<GetPromptResult>(whole(json!({ "messages": messages }))).into())
    }

    async fn complete(
        &self,
        _: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        Ok(read(whole(
            json!({ "completion": { "values": ["paris", "park"], "total": 2, "hasMore": false } }),
        )))
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let listeners = || self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners().push(context.sink().clone());
        context.cancelled().await;
        listeners().clear();
        Ok(())
    }
}
