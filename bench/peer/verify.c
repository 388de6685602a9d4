/* Verification of one path: proof, acknowledgement, choice. Pure. */
#include "bench/peer/internal.h"

void peer_verify_init(struct peer_verify *v, enum wire_role role, bool stream, uint64_t path_id)
{
    *v = (struct peer_verify){.role = role, .stream = stream, .mine = path_id};
}

bool peer_verify_verified(const struct peer_verify *v)
{
    return v->proof_in && (v->stream || v->ack_in);
}

bool peer_verify_agreed(const struct peer_verify *v)
{
    return v->proof_in && v->ack_in && v->chosen_in && v->chosen_out;
}

unsigned peer_verify_in(struct peer_verify *v, const struct wire_path_msg *msg)
{
    bool verified = peer_verify_verified(v), agreed = peer_verify_agreed(v);
    /* The first proof is answered even when it acknowledges ours: they cannot know yet that we have it. */
    unsigned news = v->proof_in ? 0 : PEER_NEWS_PROOF | PEER_NEWS_REPLY;
    v->proof_in = true;
    v->theirs = msg->path_id;
    /* An acknowledgement of another path id is of another socket, or of an earlier connection: not ours. */
    if ((msg->flags & WIRE_PATH_ACK) && msg->peer_path_id == v->mine)
        v->ack_in = true;
    if (msg->flags & WIRE_PATH_CHOSEN) {
        v->chosen_in = true;
        /* Only role a opens with CHOSEN; b's is the answer, and so is ours when we are b. */
        if (v->role == WIRE_ROLE_B) {
            v->chosen_out = true;
            news |= PEER_NEWS_REPLY;
        }
    }
    /* Nor do they here. A reply always acknowledges, so this ends. */
    if (!(msg->flags & WIRE_PATH_ACK))
        news |= PEER_NEWS_REPLY;
    if (!verified && peer_verify_verified(v))
        news |= PEER_NEWS_VERIFIED;
    if (!agreed && peer_verify_agreed(v))
        news |= PEER_NEWS_AGREED;
    return news;
}

unsigned peer_verify_choose(struct peer_verify *v)
{
    bool agreed = peer_verify_agreed(v);
    v->chosen_out = true;
    return PEER_NEWS_REPLY | (!agreed && peer_verify_agreed(v) ? PEER_NEWS_AGREED : 0u);
}

struct wire_path_msg peer_verify_out(const struct peer_verify *v, uint32_t trial)
{
    uint8_t flags = WIRE_PATH_PROOF;
    if (v->proof_in)
        flags |= WIRE_PATH_ACK;
    if (v->chosen_out)
        flags |= WIRE_PATH_CHOSEN;
    return (struct wire_path_msg){
        .flags = flags,
        .trial = trial,
        .path_id = v->mine,
        .peer_path_id = v->proof_in ? v->theirs : 0,
    };
}
