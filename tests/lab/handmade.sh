#!/bin/bash
# Two homes behind Linux NATs and a public server, by hand: veth and nftables only, no lab. Run it as root; it starts a
# private mount and PID namespace, so that nothing it makes outlives it:
#
#   tests/lab/handmade.sh COMMAND...     COMMAND runs with hosts a, b, s as network namespaces: ip netns exec a ...
#
#   a 10.1.0.2 - ra 198.51.100.1 - net - 203.0.113.1 rb - 10.2.0.2 b        s 192.0.2.1, 192.0.2.2
#   a2 10.1.1.2 - ra, in the same home
#
# With HANDMADE_IPV6=1 a and b also have IPv6, 2001:db8:a::2 and 2001:db8:b::2, behind stateful filters (RFC 6092).
set -eu
if [ "${HANDMADE_INSIDE:-}" != 1 ]; then
    exec env HANDMADE_INSIDE=1 unshare --mount --pid --fork --kill-child --mount-proc "$0" "$@"
fi
mount --make-rprivate /
mkdir -p /run/netns
mount -t tmpfs tmpfs /run/netns

for ns in a a2 ra b rb s net; do
    ip netns add "$ns"
    ip -n "$ns" link set lo up
done

# link NS1 IF1 ADDR1 NS2 IF2 ADDR2
link() {
    ip -n "$1" link add "$2" type veth peer name "$5" netns "$4"
    ip -n "$1" addr add "$3" dev "$2"
    ip -n "$4" addr add "$6" dev "$5"
    ip -n "$1" link set "$2" up
    ip -n "$4" link set "$5" up
}
link a eth0 10.1.0.2/24 ra lan 10.1.0.1/24
link a2 eth0 10.1.1.2/24 ra lan2 10.1.1.1/24
link b eth0 10.2.0.2/24 rb lan 10.2.0.1/24
link ra wan 198.51.100.1/24 net ra 198.51.100.254/24
link rb wan 203.0.113.1/24 net rb 203.0.113.254/24
link s eth0 192.0.2.1/24 net s 192.0.2.254/24
ip -n s addr add 192.0.2.2/24 dev eth0
ip -n a route add default via 10.1.0.1
ip -n a2 route add default via 10.1.1.1
ip -n b route add default via 10.2.0.1
ip -n ra route add default via 198.51.100.254
ip -n rb route add default via 203.0.113.254
ip -n s route add default via 192.0.2.254

for ns in ra rb net; do
    ip netns exec "$ns" sysctl -qw net.ipv4.ip_forward=1
done
# A home router as shipped: masquerade outwards, and drop what nobody asked for.
for ns in ra rb; do
    ip netns exec "$ns" nft -f - <<'NFT'
table ip home {
    chain postrouting { type nat hook postrouting priority srcnat; oifname "wan" masquerade; }
    chain forward { type filter hook forward priority filter; iifname "wan" ct state != { established, related } drop; }
    chain input { type filter hook input priority filter; iifname "wan" ct state != { established, related } drop; }
}
NFT
done
# six NS DEV ADDR: on the way from the start, without a check whether somebody else has it.
six() {
    ip -n "$1" addr add "$3" dev "$2" nodad
}
if [ "${HANDMADE_IPV6:-}" = 1 ]; then
    for home in a b; do
        six "$home" eth0 "2001:db8:$home::2/64"
        six "r$home" lan "2001:db8:$home::1/64"
        six "r$home" wan "2001:db8:f$home::1/64"
        six net "r$home" "2001:db8:f$home::fe/64"
    done
    for ns in ra rb net; do
        ip netns exec "$ns" sysctl -qw net.ipv6.conf.all.forwarding=1
    done
    for home in a b; do
        ip -n "$home" route add default via "2001:db8:$home::1"
        ip -n "r$home" route add default via "2001:db8:f$home::fe"
        ip -n net route add "2001:db8:$home::/64" via "2001:db8:f$home::1"
        ip netns exec "r$home" nft -f - <<'NFT'
table ip6 home {
    chain forward { type filter hook forward priority filter; iifname "wan" ct state != { established, related } drop; }
}
NFT
    done
fi
"$@"
