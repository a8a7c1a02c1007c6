#!/bin/sh
# Reference target for the health scenarios: nginx serving a 15-byte static
# file. Usage as a target: --b '/path/nginx-ref.sh {port} {dir}'. NGINX names the binary.
set -eu
port=$1 dir=$2
mkdir -p "$dir/www/v1" "$dir/tmp"
printf '{"status":"ok"}' > "$dir/www/v1/health"
cat > "$dir/nginx.conf" <<CONF
user root;
worker_processes 1;
worker_rlimit_nofile 16384;
daemon off;
pid $dir/nginx.pid;
error_log $dir/error.log;
events { worker_connections 8192; }
http {
    access_log off;
    default_type application/json;
    keepalive_timeout 600s;
    keepalive_requests 1000000000;
    tcp_nodelay on;
    client_body_temp_path $dir/tmp/b;
    proxy_temp_path $dir/tmp/p;
    fastcgi_temp_path $dir/tmp/f;
    uwsgi_temp_path $dir/tmp/u;
    scgi_temp_path $dir/tmp/s;
    server {
        listen 127.0.0.1:$port backlog=4096;
        root $dir/www;
    }
}
CONF
nginx=${NGINX:-$(command -v nginx || echo /usr/sbin/nginx)}
exec "$nginx" -p "$dir" -c "$dir/nginx.conf"
