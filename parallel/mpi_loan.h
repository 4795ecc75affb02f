// Both sides of a loan over MPI. Includes mpi.h: for .cc files that call MPI only.
#pragma once

#include <string_view>

#include "parallel/mpi_messages.h"
#include "parallel/mpi_window.h"

namespace annulus::parallel {

// A block that this rank lends: a note of where it lies, and an empty message when it was read.
class MpiLent final : public InFlight {
 public:
  MpiLent(const MpiRoute& route, const MpiWindow& window, const Outgoing& block,
          std::string_view what)
      : window_(window), note_(window.NoteOf(block.data, block.bytes)), messages_(route, what) {
    window_.Sync();
    messages_.Start({.sends = {{&note_, sizeof note_, block.to, block.tag}},
                     .receives = {{nullptr, 0, block.to, block.tag}}});
  }

  bool Advance() override {
    if (!messages_.Advance()) return false;
    window_.Sync();
    return true;
  }
  Missing Pending() const override { return messages_.Pending(); }

 private:
  const MpiWindow& window_;
  const LoanNote note_;
  MpiInFlight messages_;
};

// The other side.
class MpiLoan final : public InLoan {
 public:
  MpiLoan(const MpiRoute& route, const MpiWindow& window, const Incoming& block,
          std::string_view what)
      : route_(route), window_(window), block_(block), arrival_(route, what), end_(route, what) {
    arrival_.Start({.sends = {}, .receives = {{&note_, sizeof note_, block.from, block.tag}}});
  }
  ~MpiLoan() override {
    if (address_ == nullptr || Unwinding()) return;
    try {
      Return();
    } catch (...) {
      // The rank ends with an error of its own at its next call.
    }
  }

  void Accept() override {}

  bool Advance() override {
    if (address_ != nullptr) return true;
    if (!arrival_.Advance()) return false;
    Check(note_.bytes == block_.bytes, "{} lends {} bytes where {} were expected",
          route_.Where("loan", "from", block_.from), note_.bytes, block_.bytes);
    window_.Sync();
    address_ = window_.AddressOf(route_.WorldRank(block_.from), note_);
    return true;
  }
  Missing Pending() const override { return arrival_.Pending(); }
  const void* address() const override { return address_; }

  void Return() override {
    window_.Sync();
    address_ = nullptr;
    end_.Start({.sends = {{nullptr, 0, block_.from, block_.tag}}, .receives = {}});
    end_.Advance();
  }

 private:
  const MpiRoute route_;
  const MpiWindow& window_;
  const Incoming block_;
  LoanNote note_;
  MpiInFlight arrival_;
  MpiInFlight end_;  // empty and on its way: MPI needs nothing of ours to bring it there
  const void* address_ = nullptr;
};

}  // namespace annulus::parallel
