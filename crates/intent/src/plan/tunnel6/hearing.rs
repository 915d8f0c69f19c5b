//! Clients that tell where they are by HTTP.

use crate::model::{Model, Tunnel6};
use crate::plan::{HttpClient, HttpUpdates, Plan};

pub(super) fn add(plan: &mut Plan, model: &Model, served: &[&Tunnel6]) {
    let Some(server) = model.http_servers.iter().find(|server| server.host == plan.host) else { return };
    let clients = served.iter().filter_map(|tunnel| {
        let http = tunnel.http.as_ref()?;
        Some(HttpClient {
            bridge: tunnel.name.clone(),
            hostname: http.hostname.clone(),
            user: http.user.clone(),
            key_file: http.key_file.value.clone(),
        })
    });
    let clients: Vec<HttpClient> = clients.collect();
    let Some(port) = server.listen.first().map(|address| address.port()).filter(|_| !clients.is_empty())
    else {
        return;
    };
    let how = if server.certificate.is_some() {
        ""
    } else {
        ", in the clear: whoever is on the way reads the keys"
    };
    plan.remarks.push(format!(
        "clients tell their endpoints to {}/nic/update{how}; a firewall must let TCP port {port} in",
        server.url
    ));
    plan.http = Some(HttpUpdates {
        url: server.url.clone(),
        name: server.name.clone(),
        listen: server.listen.clone(),
        certificate: server.certificate.as_ref().map(|(own, key)| (own.value.clone(), key.value.clone())),
        clients,
    });
}
